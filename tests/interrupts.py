"""Interrupts at every point at which Python delivers a signal, one after the other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_POINTS = {"call", "c_return"}  # a signal's handler runs when a function begins, and after one written in C


def is_interrupted(
    work: Callable[[], object], number: int, within: Callable[[str], bool] = lambda _name: True
) -> bool:
    """Run a function that is interrupted at one point; returns whether it was.

    Parameters
    ----------
    work : callable
        The function.
    number : int
        How many such points pass before the interrupt.
    within : callable
        Takes the name of a module; returns whether points in it count.
    """
    left, interrupted = number, False

    def count(frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal left, interrupted
        if event not in _POINTS or not within(frame.f_globals.get("__name__", "")):
            return
        left -= 1
        if left < 0 and not interrupted:
            interrupted = True
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(before)
    return interrupted
