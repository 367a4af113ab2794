"""Options of filesystems, validated on creation."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fsspec.caching import caches

from rinofs.errors import InvalidOptionError, InvalidOptionTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

MEBIBYTE = 1024 * 1024

# Options that fsspec and its callers pass to every filesystem; they have no effect here.
FSSPEC_OPTIONS = frozenset({"add_aliases", "add_docs", "asynchronous", "batch_size", "loop", "max_paths"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a filesystem with their defaults; see `RemoteFileSystem` for their meaning.

    Raises
    ------
    InvalidOptionError
        If a value is out of range.
    InvalidOptionTypeError
        If a value is of the wrong type.
    """

    timeout: float = 30.0
    max_concurrency: int = 16
    use_listings_cache: bool = True
    listings_expiry_time: float = 10.0
    block_size: int = 8 * MEBIBYTE
    cache_type: str = "rinofs"
    verify_content: bool = True
    parallel_ranges: int = 0
    direct: bool = True

    def __post_init__(self) -> None:
        _check("timeout", self.timeout, (int, float), "> 0 and <= 86400 seconds", lambda s: 0 < s <= 86_400)
        _check("max_concurrency", self.max_concurrency, (int,), "from 1 to 256", lambda n: 1 <= n <= 256)
        _check("use_listings_cache", self.use_listings_cache, (bool,))
        _check(
            "listings_expiry_time", self.listings_expiry_time, (int, float), ">= 0 seconds", lambda s: s >= 0
        )
        _check("block_size", self.block_size, (int,), ">= 1 byte", lambda n: n >= 1)
        _check("cache_type", self.cache_type, (str,))
        check_cache_type(self.cache_type)
        _check("verify_content", self.verify_content, (bool,))
        _check("direct", self.direct, (bool,))
        _check("parallel_ranges", self.parallel_ranges, (int,), "from 0 to 16", lambda n: 0 <= n <= 16)

    @property
    def listing_age(self) -> float:
        """Maximum age of a cached listing in seconds."""
        return self.listings_expiry_time if self.use_listings_cache else 0.0


def _check(
    name: str,
    value: Any,
    kinds: tuple[type, ...],
    limits: str = "",
    allowed: Callable[[Any], bool] = lambda _value: True,
) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidOptionTypeError(f"{name} must be {expected}, not {value!r}")
    if not allowed(value):
        raise InvalidOptionError(f"{name} must be {limits}, not {value!r}")


def check_cache_type(name: str) -> None:
    """Raise InvalidOptionError for a cache type that does not exist."""
    known = {"rinofs", *filter(None, caches)}
    if name not in known:
        raise InvalidOptionError(f"unknown cache_type {name!r}{_hint(name, known, 'the types are')}")


def _hint(name: str, known: Collection[str], otherwise: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; {otherwise} {', '.join(sorted(known))}"


def refuse_unknown(given: Mapping[str, object], known: frozenset[str]) -> None:
    """Raise an error for options that do not exist.

    Parameters
    ----------
    given : mapping
        Additional keyword arguments.
    known : frozenset of str
        Names of the filesystem's options, for a suggestion.

    Raises
    ------
    InvalidOptionTypeError
        If a name is not an option of the filesystem or of fsspec.
    """
    for name in given.keys() - FSSPEC_OPTIONS:
        raise InvalidOptionTypeError(f"unknown option {name!r}{_hint(name, known, 'the options are')}")


OPTION_NAMES = frozenset(field.name for field in fields(Options))
