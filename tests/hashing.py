"""Cheap password hashes: a real one fills 64 MiB several times."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST


def hash_cheaply() -> None:
    """Make this process hash passwords with little memory, in one pass."""
    PasswordHasher.__init__.__defaults__ = (
        CHEAPEST.time_cost,
        CHEAPEST.memory_cost,
        CHEAPEST.parallelism,
        *PasswordHasher.__init__.__defaults__[3:],
    )
