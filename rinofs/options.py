"""The settings of a filesystem, checked once, at the door."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from fsspec.caching import caches

from rinofs.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MEBIBYTE = 1024 * 1024

# What fsspec and its callers give to any filesystem; it is theirs and means nothing here.
FSSPEC_OPTIONS = frozenset({"add_aliases", "add_docs", "asynchronous", "batch_size", "loop", "max_paths"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a filesystem.

    Parameters
    ----------
    timeout : float
        Seconds that the endpoint may be silent before a request fails.
    max_concurrency : int
        Requests under way at once, at most.
    use_listings_cache : bool
        Whether listings may be answered from memory.
    listings_expiry_time : float
        Seconds for which a listing may be answered from memory; 0 always asks.
    block_size : int
        Bytes that a sequential read asks for in one request, at most.
    cache_type : str
        How the files cache what they read: ``rinofs``, shared by all files of the process, or the name of
        any of fsspec's own caches.
    verify_content : bool
        Whether whole files are checked against the digest that the service vouches for.
    parallel_ranges : int
        Connections that `get` and `get_file` use for one large file; 0 for as many as are seen to pay.

    Raises
    ------
    InvalidOptionError
        If a value is of the wrong type or out of range.
    """

    timeout: float = 30.0
    max_concurrency: int = 16
    use_listings_cache: bool = True
    listings_expiry_time: float = 10.0
    block_size: int = 8 * MEBIBYTE
    cache_type: str = "rinofs"
    verify_content: bool = True
    parallel_ranges: int = 0

    def __post_init__(self) -> None:
        _require("timeout", self.timeout, (int, float), self.timeout_allowed)
        _require("max_concurrency", self.max_concurrency, (int,), lambda n: 1 <= n <= 256)
        _require("use_listings_cache", self.use_listings_cache, (bool,))
        _require("listings_expiry_time", self.listings_expiry_time, (int, float), lambda s: s >= 0)
        _require("block_size", self.block_size, (int,), lambda n: n >= 1)
        _require("cache_type", self.cache_type, (str,))
        check_cache_type(self.cache_type)
        _require("verify_content", self.verify_content, (bool,))
        _require("parallel_ranges", self.parallel_ranges, (int,), lambda n: 0 <= n <= 16)

    @staticmethod
    def timeout_allowed(seconds: float) -> bool:
        """Whether a request may wait so long: any time above zero, up to a day."""
        return 0 < seconds <= 86_400

    @property
    def listing_age(self) -> float:
        """Seconds that a listing from memory may be old."""
        return self.listings_expiry_time if self.use_listings_cache else 0.0


def _require(name: str, value: object, kinds: tuple[type, ...], allowed: object = None) -> None:
    wrong_kind = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
    if wrong_kind or (callable(allowed) and not allowed(value)):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidOptionError(f"{name}={value!r} is not a valid value: {expected} in range expected")


def check_cache_type(name: str) -> None:
    """Refuse a type of cache that does not exist; raises InvalidOptionError."""
    known = {"rinofs", *filter(None, caches)}
    if name not in known:
        raise InvalidOptionError(f"cache_type={name!r} does not exist{_hint(name, known, 'the types are')}")


def _hint(name: str, known: Collection[str], otherwise: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; {otherwise} {', '.join(sorted(known))}"


def refuse_unknown(given: Mapping[str, object], known: frozenset[str]) -> None:
    """Refuse options that do not exist.

    Parameters
    ----------
    given : mapping
        What was passed beyond the known options, by name.
    known : frozenset of str
        The names of the filesystem's own options, for a suggestion.

    Raises
    ------
    InvalidOptionError
        If a name is neither an option nor one of fsspec's own.
    """
    for name in given.keys() - FSSPEC_OPTIONS:
        raise InvalidOptionError(f"there is no option {name!r}{_hint(name, known, 'the options are')}")


OPTION_NAMES = frozenset(field.name for field in fields(Options))
