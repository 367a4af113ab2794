"""Text that is safe to show: one line without secrets, of limited length."""

from __future__ import annotations

import re

_HIDDEN = "***"
_KEYS = (
    "access_token|refresh_token|id_token|client_secret|password|token|secret|code|authorization"
    "|signature|sig|awsaccesskeyid|x-amz-signature|x-amz-credential|x-amz-security-token"
)
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|token|basic)\s+[\w.~+/=:-]{6,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\brino_[\w-]{6,}"), _HIDDEN),
    (re.compile(rf"(?i)([?&\s]|^)({_KEYS})=[^&\s\"']+"), rf"\1\2={_HIDDEN}"),
    (re.compile(rf"(?i)([\"'])({_KEYS})\1\s*:\s*([\"']).*?(?:\3|$)"), rf"\1\2\1: {_HIDDEN}"),
)


def redact(text: str, *secrets: str) -> str:
    """Return `text` without `secrets` and without other text that looks like a secret.

    Parameters
    ----------
    text : str
        Text from outside: a service's message, a URL.
    *secrets : str
        Header values and tokens that must not be shown.
    """
    for secret in secrets:
        for part in {secret, secret.rpartition(" ")[2]}:
            if part:
                text = text.replace(part, _HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def excerpt(content: bytes | str, *secrets: str, limit: int = 200) -> str:
    """Return the beginning of `content` as one redacted line of at most `limit` characters."""
    if isinstance(content, bytes):
        # More than the limit, so that a secret across the cut is still recognised.
        content = content[: limit * 4 + 4096].decode("utf-8", "replace")
    line = " ".join(redact(content, *secrets).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
