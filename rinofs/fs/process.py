"""State that filesystem objects share within a process, and its handling after a fork."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import MethodType

Value = TypeVar("Value")


# By object, one method of each. A `WeakMethod` with a callback fails while Python exits.
_methods: weakref.WeakKeyDictionary[object, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Register a method to be called in the child after every fork, as long as its object exists.

    A lock that another thread holds during the fork would never be released in the child
    (https://docs.python.org/3/library/os.html#os.fork).
    """
    bound = cast("MethodType", method)
    _methods[bound.__self__] = bound.__func__


def _call_methods() -> None:
    for owner, method in list(_methods.items()):
        method(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_call_methods)


class Registry(Generic[Value]):
    """One object per key, created on demand and shared by all threads."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Value] = {}
        self._make_lock()
        after_fork_in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the object for `key`, calling `make` if there is none yet."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]
