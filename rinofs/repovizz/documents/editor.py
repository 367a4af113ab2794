"""Edit documents with optimistic concurrency; concurrent edits of one process are combined.

An edit is a function of the document. It is applied to the last known state and sent on the condition that
this state is still current; otherwise it is applied to the current state. Edits that arrive during a request
wait, and are then sent together in one request, so threads of a process do not compete with each other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from rinofs.datapack import Document
from rinofs.datapack.document.naming import name_of_part
from rinofs.errors import (
    ConflictError,
    NotAllowedError,
    NotFoundError,
    OutcomeUnknownError,
    PreconditionError,
)
from rinofs.repovizz.documents.queues import Job, check_name
from rinofs.repovizz.paths import is_id

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rinofs.fs.listings import Age
    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.documents.cache import DatapackCache
    from rinofs.repovizz.documents.queues import Queues
    from rinofs.repovizz.records import Datapack
    from rinofs.repovizz.resolver import Resolver

Edit: TypeAlias = Callable[[Document], Document]

MAX_TRIES = 200
"""Maximum number of attempts to apply an edit while other clients are faster."""

_LONGEST_PAUSE = 1.0  # seconds


class Editor:
    """Edits documents of datapacks.

    Parameters
    ----------
    client : RepovizzClient
        Sends the requests.
    resolver : Resolver
        Reads the current state of datapacks.
    cache : DatapackCache
        Records every change.
    queues : Queues
        Pending edits of all threads.
    listing_age : float
        Maximum age in seconds of a list that shows which datapacks do not exist.
    """

    def __init__(
        self,
        client: RepovizzClient,
        resolver: Resolver,
        cache: DatapackCache,
        queues: Queues,
        listing_age: float,
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._cache = cache
        self._queues = queues
        self._listing_age = listing_age

    def edit(self, datapack: Datapack, edit: Edit, label: str, part: str | None = None) -> Datapack:
        """Edit the document of a datapack.

        Parameters
        ----------
        datapack : Datapack
            Last known state.
        edit : callable
            Takes the document and returns the new one. It may be called several times, and must depend on the
            document only.
        label : str
            Name of the edited object for messages.
        part : str, optional
            Part of the path that stands for the datapack.

        Returns
        -------
        Datapack
            State that includes the edit.

        Raises
        ------
        Exception
            As raised by the edit, applied to the current state.
        NotFoundError
            If the datapack was renamed, so that the part does not stand for it any more.
        PreconditionError
            If other clients were faster in each attempt.
        """
        job = Job(edit, label, part)
        self._queues.work(datapack.id, job, lambda batch: self._commit(datapack, batch))
        if job.error is not None:
            raise job.error
        assert job.result is not None
        return job.result

    def check(self, datapack: Datapack, edit: Edit, label: str, part: str | None = None) -> None:
        """Raise what an edit would raise, without carrying it out; refreshes the state before raising."""
        try:
            edit(datapack.document)
        except OSError:
            self.edit(datapack, lambda document: (edit(document), document)[1], label, part)

    def uploading(self, datapack: Datapack) -> AbstractContextManager[None]:
        """Block edits by this process while a content is stored that a node links to."""
        return self._queues.uploading(datapack.id)

    def alone(self, datapack: Datapack) -> AbstractContextManager[None]:
        """Block edits and uploads of a datapack by this process."""
        return self._queues.alone(datapack.id)

    def found_or_made(self, part: str, label: str, max_age: Age) -> Datapack:
        """Return the datapack for a part of a path, created if it does not exist."""
        if not self.lacks(part):
            with suppress(NotFoundError):
                return self._resolver.datapack(part, max_age)
        try:
            return self.make(part, label)
        except ConflictError:
            return self._resolver.datapack(part, 0)  # another client was faster

    def lacks(self, part: str) -> bool:
        """Return whether a recent list does not contain a part.

        This needs no fresh lookup before a datapack is created, since the service refuses a second one with
        the same name; a lookup may take a request for each datapack of the user.
        """
        unknown = not is_id(part) and self._cache.id_of(part) is None
        return unknown and self._cache.lacks(part, self._listing_age)

    def make(self, part: str, label: str, document: Document | None = None) -> Datapack:
        """Create a datapack.

        Parameters
        ----------
        part : str
            Part of the path that stands for it.
        label : str
            Name of the datapack for messages.
        document : Document, optional
            Its document; empty by default.

        Raises
        ------
        ConflictError
            If a datapack with this name exists.
        NotAllowedError
            If the part is an id, which only the service can assign.
        InvalidPathError
            If the name is not allowed.
        """
        if is_id(part):
            raise NotAllowedError("an id cannot be chosen; use a name", label)
        name = name_of_part(part)
        document = document or Document.create(name)
        try:
            made = self._client.create(name, self.learn_owner(), document, label)
        except OutcomeUnknownError:
            self._cache.forget(part)
            made = self._resolver.datapack(part, 0)
            if made.document != document:
                raise
        self._cache.put(made)
        return made

    def learn_owner(self) -> int | str:
        """Return the service's id for the user; requested once."""
        owner = self._cache.owner
        if owner is None:
            owner = self._cache.owner = self._client.account().id
        return owner

    def rename(self, datapack: Datapack, part: str, new: str, label: str) -> None:
        """Rename a datapack, in its document too if that contains the old name.

        Parameters
        ----------
        datapack : Datapack
            Last known state.
        part, new : str
            Part of the path that stands for it, and the one that will.
        label : str
            New name of the datapack for messages.

        Raises
        ------
        ConflictError
            If another datapack has this name.
        NotFoundError
            If another client has renamed it, so that the part does not stand for it any more.
        """
        if is_id(new):
            raise NotAllowedError("an id cannot be chosen; use a name", label)
        name = name_of_part(new)
        with self.alone(datapack):  # the document is sent, which must have what others have just stored
            base = self._cache.known(datapack.id) or datapack
            if not base.etag:
                base = self._resolver.again(base.id, label)
            for count in range(MAX_TRIES):
                check_name(base, part, label)
                document = base.document
                if document.info.name == base.name:
                    document = document.with_info(name=name)
                changed = None if document is base.document else document
                try:
                    etag = self._client.edit(base, label, name=name, document=changed)
                except PreconditionError:
                    _pause(count)
                    base = self._resolver.again(base.id, label)
                else:
                    self._cache.put(replace(base, name=name, document=document, etag=etag))
                    return
        raise PreconditionError(
            f"other users changed the datapack during {MAX_TRIES} attempts; try again", label
        )

    def _commit(self, datapack: Datapack, jobs: list[Job]) -> None:
        label = jobs[0].label
        # Without an etag, only a state that was read right before the edit can be trusted.
        sure = not datapack.etag
        known = self._cache.known(datapack.id) or datapack
        base = self._resolver.again(datapack.id, label) if sure or not known.etag else known
        for count in range(MAX_TRIES):
            document, failed = _applied(base, jobs)
            if failed and not sure:
                # The cached state may be outdated: decide with the current one.
                base, sure = self._resolver.again(datapack.id, label), True
                continue
            for job, error in failed:
                job.finish(None, error)
            jobs = [job for job in jobs if not job.done]
            changed = self._send(base, document, label)
            if changed is not None:
                self._finish(jobs, changed)
                return
            _pause(count)
            base, sure = self._resolver.again(datapack.id, label), True
        raise PreconditionError(
            f"other users changed the datapack during {MAX_TRIES} attempts; try again", label
        )

    def _send(self, base: Datapack, document: Document, label: str) -> Datapack | None:
        """Store a document; returns None if the datapack's state has changed."""
        if document is base.document:
            return base
        try:
            etag = self._client.edit(base, label, document=document)
        except PreconditionError:
            return None
        except OutcomeUnknownError:
            there = self._resolver.again(base.id, label)
            if there.document == base.document:
                return None
            if there.document != document:
                raise
            return there
        changed = base.changed(document, etag)
        self._cache.put(changed)
        return changed

    @staticmethod
    def _finish(jobs: list[Job], changed: Datapack) -> None:
        for job in jobs:
            job.finish(changed)


@dataclass(frozen=True, slots=True)
class Datapacks:
    """The datapacks of one user at one endpoint, with everything needed to change them.

    Attributes
    ----------
    client : RepovizzClient
        Sends the requests.
    resolver : Resolver
        Finds datapacks, nodes and contents.
    cache : DatapackCache
        Records every change.
    editor : Editor
        Edits documents, and creates datapacks.
    url : callable
        Converts a path to its URL for messages.
    """

    client: RepovizzClient
    resolver: Resolver
    cache: DatapackCache
    editor: Editor
    url: Callable[[str], str]


def _applied(base: Datapack, jobs: list[Job]) -> tuple[Document, list[tuple[Job, BaseException]]]:
    """Apply edits one after the other; returns the document, and the edits that failed with their errors."""
    document = base.document
    failed: list[tuple[Job, BaseException]] = []
    for job in jobs:
        try:
            document = job.apply(base, document)
        except Exception as error:  # noqa: BLE001 - raised to whoever asked for the edit
            failed.append((job, error))
    return document, failed


def _pause(count: int) -> None:
    longest = min(_LONGEST_PAUSE, 0.01 * 2 ** min(count, 10))
    time.sleep(random.uniform(0, longest))  # noqa: S311 - spreads load, guards nothing
