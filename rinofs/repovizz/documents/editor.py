"""Edits of structures: by optimistic concurrency, and those of one process together.

Each edit is a function of the document. It is applied to the last state that is known, and sent on the
condition that this is still the state; where it is not, it is applied to what there is now. Edits that
arrive while another one is on its way wait for it, and are then sent in one request: the threads of a process
do not compete with each other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
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
from rinofs.repovizz.documents.queues import Job
from rinofs.repovizz.paths import is_id

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.documents.cache import DatapackCache
    from rinofs.repovizz.documents.queues import Queues
    from rinofs.repovizz.records import Datapack
    from rinofs.repovizz.resolver import Resolver

Edit: TypeAlias = Callable[[Document], Document]

MAX_TRIES = 200
"""How often an edit is applied anew because others were faster."""

_LONGEST_PAUSE = 1.0  # seconds


class Editor:
    """Edit the structures of datapacks.

    Parameters
    ----------
    client : RepovizzClient
        Sends the requests.
    resolver : Resolver
        Reads datapacks again.
    cache : DatapackCache
        Is told of every change.
    queues : Queues
        The edits of all threads.
    """

    def __init__(
        self, client: RepovizzClient, resolver: Resolver, cache: DatapackCache, queues: Queues
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._cache = cache
        self._queues = queues

    def edit(self, datapack: Datapack, edit: Edit, label: str) -> Datapack:
        """Change the structure of a datapack.

        Parameters
        ----------
        datapack : Datapack
            As it was when last looked at.
        edit : callable
            Takes the document and returns the one that is to take its place; may be called several times,
            and must not depend on anything else that changes.
        label : str
            What is edited, for messages.

        Returns
        -------
        Datapack
            The state that holds the change.

        Raises
        ------
        Exception
            What the edit itself raises, applied to what there is at the service.
        PreconditionError
            If others were faster each time.
        """
        job = Job(edit, label)
        self._queues.work(datapack.id, job, lambda batch: self._commit(datapack, batch))
        if job.error is not None:
            raise job.error
        assert job.result is not None
        return job.result

    def check(self, datapack: Datapack, edit: Edit, label: str) -> None:
        """Raise what an edit would, without making it; looks again before it raises."""
        try:
            edit(datapack.document)
        except OSError:
            self.edit(datapack, lambda document: (edit(document), document)[1], label)

    def uploading(self, datapack: Datapack) -> AbstractContextManager[None]:
        """Keep edits of this process out while a content is stored that a node links to."""
        return self._queues.uploading(datapack.id)

    def alone(self, datapack: Datapack) -> AbstractContextManager[None]:
        """Keep edits and uploads of this process out of a datapack."""
        return self._queues.alone(datapack.id)

    def found_or_made(self, part: str, label: str, max_age: float) -> Datapack:
        """Return the datapack of a part, made now if there is none."""
        try:
            return self._resolver.datapack(part, max_age)
        except NotFoundError:
            pass
        try:
            return self.make(part, label)
        except ConflictError:
            return self._resolver.datapack(part, 0)  # others were faster

    def make(self, part: str, label: str, document: Document | None = None) -> Datapack:
        """Make a datapack.

        Parameters
        ----------
        part : str
            What is to stand for it in paths.
        label : str
            What it is called in messages.
        document : Document, optional
            Its structure; by default it is empty.

        Raises
        ------
        ConflictError
            If there is one of this name.
        NotAllowedError
            If the part is an id, which the service chooses.
        InvalidPathError
            If no datapack can have this name.
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
        """Return what the service names the user by, asked for once."""
        owner = self._cache.owner
        if owner is None:
            owner = self._cache.owner = self._client.account().id
        return owner

    def rename(self, datapack: Datapack, part: str, label: str) -> None:
        """Give a datapack another name; its document, where it says the same name, says the new one.

        Raises
        ------
        ConflictError
            If there is another one of this name.
        """
        if is_id(part):
            raise NotAllowedError("an id cannot be chosen; use a name", label)
        name = name_of_part(part)
        base = datapack
        for count in range(MAX_TRIES):
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
        # Without an etag, only what was read right before the edit can be gone by.
        sure = not datapack.etag
        known = self._cache.known(datapack.id) or datapack
        base = self._resolver.again(datapack.id, label) if sure or not known.etag else known
        for count in range(MAX_TRIES):
            document, failed = _applied(base.document, jobs)
            if failed and not sure:
                # What was known may have been overtaken: only what is there now counts.
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
        """Store a document; None if the datapack is in another state by now."""
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
    """The datapacks of one user at one endpoint: all that is needed to change them.

    Attributes
    ----------
    client : RepovizzClient
        Sends the requests.
    resolver : Resolver
        Finds datapacks, nodes and contents.
    cache : DatapackCache
        Is told of every change.
    editor : Editor
        Edits structures, and makes datapacks.
    url : callable
        Turns a path into what messages call it.
    """

    client: RepovizzClient
    resolver: Resolver
    cache: DatapackCache
    editor: Editor
    url: Callable[[str], str]


def _applied(document: Document, jobs: list[Job]) -> tuple[Document, list[tuple[Job, BaseException]]]:
    """Apply all edits that can be, one after the other; return the document, and which could not be."""
    failed: list[tuple[Job, BaseException]] = []
    for job in jobs:
        try:
            document = job.apply(document)
        except Exception as error:  # noqa: BLE001 - raised to whoever asked for the edit
            failed.append((job, error))
    return document, failed


def _pause(count: int) -> None:
    longest = min(_LONGEST_PAUSE, 0.01 * 2 ** min(count, 10))
    time.sleep(random.uniform(0, longest))  # noqa: S311 - spreads load, guards nothing
