"""Warnings about files and documents with flaws."""

from __future__ import annotations

import warnings


class DataWarning(UserWarning):
    """A file differs from its description or its format; the message says how it is read."""


def warn(label: str, problem: str) -> None:
    """Warn about a file or node, given its name."""
    warnings.warn(f"{label}: {problem}", DataWarning, stacklevel=2)


def shortened(text: str, longest: int = 40) -> str:
    """Return a text for a message, truncated if long."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
