"""Labels of datatypes -> names of variables."""

from __future__ import annotations

import re


def identifier(label: str, otherwise: str = "value") -> str:
    """Return a label as a name that Python takes: ``angular velocity`` is ``angular_velocity``.

    Parameters
    ----------
    label : str
        Any text.
    otherwise : str, optional
        The name where nothing in the label can be in one.
    """
    name = re.sub(r"\W+", "_", label).strip("_")
    if not name:
        return otherwise
    return name if name.isidentifier() else f"_{name}"
