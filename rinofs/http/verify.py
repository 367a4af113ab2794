"""Checking what is transferred, beside the transfer."""

from __future__ import annotations

from collections.abc import Mapping

Buffer = bytes | bytearray | memoryview


class Verifier:
    """Hashes a content on other threads while it is transferred, and compares at the end.

    A loop that reuses buffers takes them from `buffer`, fills one, feeds the filled part, and takes the
    next: no byte is copied, and there are never more than a few buffers::

        while count := stream.readinto(view := verifier.buffer()):
            file.write(view[:count])
            verifier.feed(view[:count])
        verifier.finish()
    """

    @classmethod
    def for_answer(
        cls, headers: Mapping[str, str], etag: str | None, size: int | None, *, label: str = ""
    ) -> Verifier:
        """Choose the cheapest digest that is offered: ``Repr-Digest`` sha-256, else the etag, else none."""
        raise NotImplementedError

    def buffer(self) -> memoryview:
        """Return a buffer to read into; waits while all are being hashed."""
        raise NotImplementedError

    def feed(self, data: Buffer, *, stable: bool = False) -> None:
        """Hash the next bytes.

        Immutable bytes, and filled parts of `buffer`, are not copied. Nor is anything that is `stable`:
        the caller does not change it before `finish`.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Wait for the digest and compare; raises ContentMismatchError."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Stop without comparing; may be called at any time, also after `finish`."""
        raise NotImplementedError
