"""The cases to measure, their contenders, and the goals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of times to reach.

    Attributes
    ----------
    opponent : str
        Contender whose time is the divisor.
    must, aim : float or None
        Maximum ratio, and desired ratio.
    contender : str
        Contender whose time is divided: a variant of rinofs.
    figure : str
        Time to compare: ``wall``, or processor seconds: ``cpu`` of the client, ``served`` of the servers.
    must_masked : float, optional
        Maximum ratio if SHA instructions are masked; `must` by default.
    """

    opponent: str
    must: float | None
    aim: float | None = None
    contender: str = "rinofs"
    figure: str = "wall"
    must_masked: float | None = None

    def limit(self, *, masked: bool) -> float | None:
        """Return the maximum ratio."""
        return self.must_masked if masked and self.must_masked is not None else self.must

    @property
    def label(self) -> str:
        """Dividend and divisor."""
        what = {"cpu": ", client CPU", "served": ", server CPU"}.get(self.figure, "")
        return f"{self.contender} / {self.opponent}{what}"


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound for rinofs in a case.

    Attributes
    ----------
    figure : str
        Bounded figure: ``requests``, ``sent`` (bytes that the server sent) or ``memory`` (MiB).
    most : float
        Maximum value.
    """

    figure: str
    most: float


@dataclass(frozen=True, slots=True)
class Case:
    """A piece of work that all contenders do.

    Attributes
    ----------
    name : str
        Name on the command line.
    title : str
        Description.
    goals : tuple of Goal
        Goals to reach; they determine the contenders and opponents.
    others : tuple of str
        Further contenders, for comparison only.
    setting : str
        Server to use: ``live``, which counts requests, ``late`` (the same behind 20 ms of latency, with a
        window of 4 MiB), ``narrow`` (also limited to 50 MB/s per connection), ``wide`` (without a window),
        ``serve``, the server as users start it, one with contents in an S3 store (``s3``, ``s3-cached``), or
        workers that share a database (``workers``, ``workers-far``, ``nginx``).
    rounds : int
        Number of runs of each contender.
    bounds : tuple of Bound
        Upper bounds for each run of any contender.
    by_name : bool
        Whether to measure it only if it is named, since it takes long to prepare.
    sha : bool
        Whether to measure it again with the SHA instructions of the processor masked.
    """

    name: str
    title: str
    goals: tuple[Goal, ...]
    others: tuple[str, ...] = ()
    setting: str = "live"
    rounds: int = 5
    bounds: tuple[Bound, ...] = ()
    by_name: bool = False
    sha: bool = False

    @property
    def contenders(self) -> list[str]:
        """Return all contenders, each once."""
        names = [name for goal in self.goals for name in (goal.contender, goal.opponent)]
        return list(dict.fromkeys([*names, *self.others]))


OFF = "rinofs, unverified"
PUT = "requests.put to a route that writes and fsyncs"
DAY_BYTES = 853_486_331  # of a CSV of 24 hours, 200 Hz, 8 channels

CASES = (
    Case(
        "cat",
        "cat_file of 512 MiB",
        (
            Goal("fsspec http", 0.75, 0.6),
            Goal("fsspec http", 0.75, 0.6, OFF),
            Goal("raw socket", 1.3, 1.1, OFF),
            Goal(OFF, 1.4, 1.2, figure="cpu"),
        ),
        ("obstore", "requests", "s3fs"),
        rounds=7,
        sha=True,
    ),
    Case(
        "get",
        "get_file of 512 MiB",
        (
            Goal("fsspec http", 0.95, 0.8),
            Goal("fsspec http", 0.9, 0.8, OFF),
            Goal(OFF, 1.4, 1.2, figure="cpu"),
        ),
        ("curl", "local copy", "s3fs"),
        rounds=7,
        sha=True,
    ),
    Case(
        "loop",
        "open and read 512 MiB, 1 MiB at a time",
        (Goal("fsspec http", 0.65, 0.5),),
        rounds=7,
        sha=True,
    ),
    Case("random", "500 random reads of 64 KiB", (Goal("fsspec http", 0.35, 0.15),)),
    Case("again", "the same 500 reads, of a file that is opened again", (Goal("fsspec http", 0.05),)),
    Case(
        "ranges",
        "cat_ranges, 500 of 64 KiB",
        (Goal("fsspec http", 1.0, 0.8), Goal("s3fs", 0.5), Goal("obstore", 1.0)),
    ),
    Case("many-cat", "cat of 1,000 files of 10 KiB", (Goal("fsspec http", 1.2, 1.0), Goal("s3fs", 0.3))),
    Case("many-get", "get of 1,000 files of 10 KiB", (Goal("fsspec http", 1.3, 1.0), Goal("s3fs", 0.4))),
    Case("many-put", "put of 1,000 files of 10 KiB", (Goal("requests in 8 threads", 0.9, 0.7),)),
    Case(
        "many-get-command",
        "a command that gets 1,000 files of 10 KiB, with its imports",
        (Goal("s3fs", None), Goal("rclone", None)),
    ),
    Case(
        "put",
        "put_file of 512 MiB",
        (
            Goal("requests", 0.8, 0.6),
            Goal(PUT, 1.4, 1.1, must_masked=1.6),
            Goal(PUT, 1.4, 1.1, "rinofs, until the SHA-256 is there", must_masked=1.6),
        ),
        rounds=7,
        sha=True,
    ),
    Case(
        "parquet",
        "pd.read_parquet, 1 of 8 columns of 40 MB",
        (Goal("fsspec http", 0.7, 0.5), Goal("s3fs", 0.7, 0.5)),
    ),
    Case(
        "zarr",
        "xr.open_zarr of 500 chunks, loaded",
        (Goal("fsspec http", 1.5, 1.0), Goal("fsspec http", 0.6, 0.4, "RinoStore")),
        ("obstore",),
        rounds=7,
    ),
    Case(
        "zarr-sharded",
        "a sharded zarr array, 200 of 400 inner chunks",
        (Goal("obstore", 1.0, 0.8, "RinoStore"),),
        rounds=7,
    ),
    Case(
        "zarr-write",
        "to_zarr of 500 chunks",
        (Goal("s3fs", 0.6, 0.3, "RinoStore"),),
        rounds=7,
    ),
    Case(
        "late-cat",
        "with 20 ms of latency: cat of 200 files",
        (Goal("fsspec http", 1.1, 1.0),),
        setting="late",
    ),
    Case("late-get", "with 20 ms of latency: get of 256 MiB", (Goal("fsspec http", 0.9),), setting="late"),
    Case(
        "narrow-get",
        "with 20 ms of latency and 50 MB/s a connection: get of 256 MiB",
        (Goal("fsspec http", None),),
        ("rinofs, one connection",),
        setting="narrow",
    ),
    Case(
        "wide-get",
        "with 20 ms of latency and no window: get of 256 MiB",
        (Goal("fsspec http", None),),
        setting="wide",
    ),
    Case(
        "late-find", "with 20 ms of latency: find of 200 folders", (), ("rinofs", "rinofs, plain API"), "late"
    ),
    Case(
        "server-download",
        "the server: 512 MiB to a streaming client",
        (Goal("nginx", 1.3, 1.0, "rinofs serve"),),
        setting="serve",
    ),
    Case(
        "server-upload",
        "the server: 512 MiB stored durably",
        (
            Goal("md5 in a thread, write and fsync in another", 1.4, 1.2, "rinofs serve"),
            Goal("md5 and sha256 in one thread", 1.8, 1.3, "rinofs serve"),
        ),
        setting="serve",
        rounds=7,
        sha=True,
    ),
    Case(
        "server-small",
        "the server: 2,000 downloads of 1 KiB",
        (Goal("bare Starlette route", 2.0, 1.5, "rinofs serve"),),
        setting="serve",
        rounds=7,
    ),
    Case(
        "server-metadata",
        "the server: 2,000 times get_metadata",
        (Goal("bare Starlette route", 1.8, 1.5, "rinofs serve"),),
        setting="serve",
        rounds=7,
    ),
    Case(
        "readers",
        "8 processes that read one file of 256 MiB at the same time",
        (Goal("fsspec http", None),),
        setting="serve",
    ),
    Case(
        "clients",
        "16 clients at once: 1 KiB downloaded and its metadata read, 200 times each",
        (),
        ("rinofs serve", "bare Starlette route"),
        setting="serve",
    ),
    Case(
        "commits",
        "the server: 200 uploads of 1 KiB, 16 at a time",
        (Goal("a commit for each upload", 0.8, None, "group commits"),),
    ),
    Case("query", "query_frame over 10,000 objects", (), ("rinofs",)),
    Case(
        "query-index",
        "100 of 100,000 objects by a metadata field: found, and counted, 20 times",
        (Goal("without", 0.1, 0.02, "with an index"),),
    ),
    Case(
        "query-million",
        "100 of 1,000,000 objects by a metadata field: found, and counted, twice",
        (Goal("without", 0.1, 0.02, "with an index"),),
        by_name=True,
    ),
    Case("first-ls", "the first ls of a process, with imports", (), ("rinofs",)),
    *(
        Case(
            f"growth-{what}",
            f"{what}, time for each object",
            (
                Goal("1,000 objects", 1.5, 1.2, "100,000 objects"),
                Goal("1,000 objects", 1.5, 1.2, "1,000,000 objects"),
            ),
            by_name=True,
        )
        for what in ("ls", "find", "upload", "info")
    ),
    Case(
        "ls",
        "ls of 100,000 objects, by 100, against 1,000",
        (Goal("1,000 objects", 1.3, None, "100,000 objects"),),
    ),
    Case(
        "day-open",
        "a CSV of 24 hours, 8 channels at 200 Hz: opened first",
        (),
        ("rinofs",),
        rounds=1,
        bounds=(Bound("sent", DAY_BYTES + 256 * 1024), Bound("memory", 64)),
    ),
    Case(
        "day-minute",
        "a CSV of 24 hours: a minute, once it was opened",
        (),
        ("rinofs",),
        bounds=(Bound("requests", 3), Bound("sent", 1_000_000), Bound("memory", 64)),
    ),
)
