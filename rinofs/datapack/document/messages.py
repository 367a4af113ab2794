"""Warnings about files and documents with flaws."""

from __future__ import annotations

import warnings


class DataWarning(UserWarning):
    """A file is not quite what it or its node says; the warning tells what was made of it."""


def warn(label: str, problem: str) -> None:
    """Warn of a file or a node that is not quite what it says."""
    warnings.warn(f"{label}: {problem}", DataWarning, stacklevel=2)


def shortened(text: str, longest: int = 40) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
