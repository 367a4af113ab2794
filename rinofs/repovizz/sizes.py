"""Sizes of contents: asked for all at once where the server tells them, else one by one; never twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.errors import NotFoundError
from rinofs.fs.transfer.pool import run
from rinofs.http.content.content import open_content
from rinofs.repovizz.records import hash_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rinofs.fs.backend import Info
    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.documents.cache import DatapackCache


class Sizes:
    """Find out how large contents are.

    Parameters
    ----------
    client : RepovizzClient
        Asks the server.
    cache : DatapackCache
        Remembers the answers.
    max_concurrency : int
        Requests under way at once, at most.
    """

    def __init__(self, client: RepovizzClient, cache: DatapackCache, max_concurrency: int) -> None:
        self._client = client
        self._cache = cache
        self._max_concurrency = max_concurrency

    def fill_in(self, infos: Iterable[Info]) -> None:
        """Set the sizes of files whose size is None; it stays so where there is no content."""
        lacking = [info for info in infos if info["size"] is None and hash_of(info.get("link", ""))]
        unknown: dict[str, dict[str, str]] = {}
        for info in lacking:
            content_hash = hash_of(info["link"]) or ""
            if self._cache.size(info["datapack"], content_hash) is None:
                unknown.setdefault(info["datapack"], {})[content_hash] = info["name"]
        for identifier, hashes in unknown.items():
            self._ask(identifier, hashes)
        for info in lacking:
            info["size"] = self._cache.size(info["datapack"], hash_of(info["link"]) or "")

    def _ask(self, identifier: str, hashes: dict[str, str]) -> None:
        if "sizes" not in self._client.features.lacking:
            found = self._client.sizes(identifier, next(iter(hashes.values())))
            for link, size in found.items():
                self._cache.keep_size(identifier, hash_of(link) or link, size)
            if not found:
                self._client.features.lacks("sizes")
        left = [each for each in hashes if self._cache.size(identifier, each) is None]
        run(lambda each: self._measure(identifier, each, hashes[each]), left, self._max_concurrency)

    def _measure(self, identifier: str, content_hash: str, label: str) -> None:
        content = self._client.content(identifier, content_hash, label)
        try:
            with open_content(self._client.session, content, 0, 1) as stream:
                size = stream.size
        except NotFoundError:
            return
        if size is not None:
            self._cache.keep_size(identifier, content_hash, size)
