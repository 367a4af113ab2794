"""The work of each contender in each case; one function each, run in a new process.

A function prepares (imports, sessions, one warm-up request), and returns the work to be timed.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import queue
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.goals import PUT
from tests.datapack.long_recording import CHANNELS, RATE, values_of

MEBIBYTE = 1024 * 1024
Work = Callable[[], Any]
AFTER: list[Callable[[], object]] = []
"""Functions to call after a measurement."""


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses of the servers and files.

    Attributes
    ----------
    url, token : str
        URL of the rinofs server, and a token.
    nginx : str
        URL of nginx, which has the same files below ``/bucket``.
    bare : str
        URL of a Starlette application with one route, on the same uvicorn.
    ids : dict
        Ids of objects by path.
    folder : str
        Local folder with the same files.
    alone, alone_token : str
        URL of a rinofs server that commits every transaction separately, and a token.
    s3 : str
        URL of an S3 server that accepts any key; its bucket ``bench`` has the small files below ``many``.
        Only for the cases that need it.
    clients : dict
        URL and token of each client, by contender, in cases with several clients.
    """

    url: str
    token: str
    nginx: str
    bare: str
    ids: dict[str, int]
    folder: str
    alone: str
    alone_token: str
    s3: str
    clients: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}

    def download(self, path: str) -> str:
        return f"{self.url}/api/1/files/download/?id={self.ids[path]}"


# Filesystems


def rinofs(place: Place, **options: Any) -> Any:
    from rinofs import RinoFileSystem

    fs = RinoFileSystem(endpoint_url=place.url, token=place.token, **options)
    fs.cat_file("warm")
    return fs


def unverified(place: Place) -> Any:
    return rinofs(place, verify_content=False)


def one_connection(place: Place) -> Any:
    return rinofs(place, parallel_ranges=1)


def fsspec_http(place: Place) -> Any:
    import fsspec

    fs = fsspec.filesystem("http", client_kwargs={"headers": place.headers})
    fs.cat_file(place.download("warm"))
    return fs


def s3fs(place: Place) -> Any:
    import s3fs as module

    fs = module.S3FileSystem(
        anon=True, endpoint_url=place.nginx, config_kwargs={"s3": {"addressing_style": "path"}}
    )
    fs.cat_file("bucket/warm")
    return fs


FILESYSTEMS: dict[str, tuple[Callable[[Place], Any], Callable[[Place, str], str]]] = {
    "rinofs": (rinofs, lambda _, path: path),
    "rinofs, unverified": (unverified, lambda _, path: path),
    "rinofs, one connection": (one_connection, lambda _, path: path),
    "fsspec http": (fsspec_http, lambda place, path: place.download(path)),
    "s3fs": (s3fs, lambda _, path: f"bucket/{path}"),
}


def with_filesystem(work: Callable[[Any, Callable[[str], str], Place], Work]) -> Callable[[str, Place], Work]:
    def prepare(contender: str, place: Place) -> Work:
        make, name = FILESYSTEMS[contender]
        return work(make(place), lambda path: name(place, path), place)

    return prepare


def scratch(name: str) -> str:
    """Return a path in a new folder, in memory if possible."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # the speed of disks varies
    folder = Path(tempfile.mkdtemp(prefix="rinofs-bench-", dir=memory))
    atexit.register(shutil.rmtree, folder)  # otherwise the disk fills up with each run
    return str(folder / name)


def _offsets(size: int) -> list[int]:
    source = random.Random(1)
    return [source.randrange(0, size - 65536) for _ in range(500)]


def _many(name: Callable[[str], str], count: int = 1000) -> list[str]:
    return [name(f"many/f{number:04}") for number in range(count)]


def _cat(fs: Any, name: Any, _place: Place) -> Work:
    return lambda: len(fs.cat_file(name("big")))


def _get(fs: Any, name: Any, _place: Place) -> Work:
    return lambda: fs.get_file(name("big"), scratch("big"))


def _loop(fs: Any, name: Any, _place: Place) -> Work:
    def work() -> None:
        with fs.open(name("big"), "rb") as file:
            while file.read(MEBIBYTE):
                pass

    return work


def _random(fs: Any, name: Any, _place: Place) -> Work:
    def work() -> int:
        with fs.open(name("big"), "rb") as file:
            count = 0
            for offset in _offsets(file.size):
                file.seek(offset)
                count += len(file.read(65536))
            return count

    return work


def _again(fs: Any, name: Any, place: Place) -> Work:
    work = _random(fs, name, place)
    work()
    return work


def _ranges(fs: Any, name: Any, _place: Place) -> Work:
    starts = _offsets(512 * MEBIBYTE)
    ends = [start + 65536 for start in starts]
    return lambda: sum(map(len, fs.cat_ranges([name("big")] * 500, starts, ends, on_error="raise")))


def _many_cat(fs: Any, name: Any, _place: Place) -> Work:
    return _cat_all(fs, _many(name))


def _cat_all(fs: Any, paths: list[str]) -> Work:
    if "?" in paths[0]:
        # With a question mark, each URL would first be expanded as a pattern, which distorts the comparison.
        return lambda: len(fs.cat_ranges(paths, None, None))
    return lambda: len(fs.cat(paths))


def _many_get(fs: Any, name: Any, _place: Place) -> Work:
    paths = _many(name)
    folder = Path(scratch("many"))
    return lambda: fs.get(paths, [str(folder / f"f{number:04}") for number in range(1000)])


def _many_get_command(contender: str, place: Place) -> Work:
    """Run a program that downloads the files, as a user would."""
    target = scratch("many")
    environment = {
        name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"
    }  # rclone refuses it
    if contender == "rinofs":
        command = [sys.executable, "-m", "rinofs", "get", "--recursive", "rino://many", target]
        environment |= {"FSSPEC_RINO_ENDPOINT_URL": place.url, "FSSPEC_RINO_TOKEN": place.token}
    elif contender == "rclone":
        remote = (
            f":s3,provider=Other,access_key_id=any,secret_access_key=any,endpoint='{place.s3}':bench/many"
        )
        command = ["rclone", "copy", "--config", os.devnull, remote, target]
    else:
        program = (
            "import s3fs, sys; fs = s3fs.S3FileSystem(**eval(sys.argv[1]));"
            "fs.get('bench/many', sys.argv[2], recursive=True)"
        )
        command = [sys.executable, "-c", program, repr(_s3_options(place)), target]

    def work() -> None:
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        assert len(list(Path(target).iterdir())) == 1000

    return work


def _many_put(fs: Any, _name: Any, place: Place) -> Work:
    return lambda: fs.put(f"{place.folder}/many/", f"put-{os.getpid()}", recursive=True)


def _put(contender: str, place: Place) -> Work:
    """Upload, and leave the server no work that would disturb the next measurement."""
    fs = rinofs(place)
    name = f"put-{os.getpid()}"

    def has_sha256() -> None:
        while not fs.info(name, refresh=True).get("sha256"):
            time.sleep(0.005)

    def work() -> None:
        fs.put_file(f"{place.folder}/big", name)
        if contender != "rinofs":
            has_sha256()

    AFTER.append(has_sha256)
    return work


def _bare_put(_contender: str, place: Place) -> Work:
    import requests

    session = requests.Session()
    session.get(place.bare)

    def work() -> None:
        with Path(f"{place.folder}/big").open("rb") as file:
            session.put(f"{place.bare}stored", data=file).raise_for_status()

    return work


def _parquet(fs: Any, name: Any, _place: Place) -> Work:
    import pandas as pd

    return lambda: len(pd.read_parquet(name("table.parquet"), columns=["c3"], filesystem=fs))


def _late_cat(fs: Any, name: Any, _place: Place) -> Work:
    return _cat_all(fs, _many(name, 200))


def _late_get(fs: Any, name: Any, _place: Place) -> Work:
    return lambda: fs.get_file(name("half"), scratch("half"))


# Others


def _raw_socket(_contender: str, place: Place) -> Work:
    where = urlsplit(place.download("big"))
    lines = [f"GET {where.path}?{where.query} HTTP/1.1", f"Host: {where.netloc}"]
    lines += [f"Authorization: Token {place.token}", "", ""]
    head = "\r\n".join(lines)

    def work() -> int:
        with socket.create_connection((where.hostname or "", where.port or 80)) as connection:
            connection.sendall(head.encode())
            start = connection.recv(65536)
            while b"\r\n\r\n" not in start:
                start += connection.recv(65536)
            rest = start.partition(b"\r\n\r\n")[2]
            buffer = bytearray(512 * MEBIBYTE)
            buffer[: len(rest)] = rest
            view, at = memoryview(buffer), len(rest)
            while at < len(buffer):
                at += connection.recv_into(view[at:])
            return at

    return work


def _requests_cat(_contender: str, place: Place) -> Work:
    import requests

    session = requests.Session()
    session.get(place.download("warm"), headers=place.headers)
    return lambda: len(session.get(place.download("big"), headers=place.headers).content)


def _obstore(place: Place, name: str) -> Any:
    """Return a store for one object, since an object with its own URL can only be a store of its own."""
    from obstore.store import HTTPStore

    options = {"allow_http": True, "default_headers": {"authorization": place.headers["Authorization"]}}
    return HTTPStore.from_url(place.download(name), client_options=options)


def _obstore_cat(_contender: str, place: Place) -> Work:
    store = _obstore(place, "big")
    store.get_range("", start=0, end=1)
    return lambda: len(store.get("").bytes())


def _obstore_ranges(_contender: str, place: Place) -> Work:
    store = _obstore(place, "big")
    store.get_range("", start=0, end=1)
    starts = _offsets(512 * MEBIBYTE)
    return lambda: len(store.get_ranges("", starts=starts, lengths=[65536] * 500))


def _curl(_contender: str, place: Place) -> Work:
    target = scratch("big")
    command = [
        "curl",
        "-sS",
        "-o",
        target,
        "-H",
        f"Authorization: Token {place.token}",
        place.download("big"),
    ]
    return lambda: subprocess.run(command, check=True)


def _local_copy(_contender: str, place: Place) -> Work:
    target = scratch("big")
    return lambda: shutil.copyfile(f"{place.folder}/big", target)


def _upload(session: Any, place: Place, path: str, name: str) -> None:
    with Path(path).open("rb") as file:
        answer = session.post(
            f"{place.url}/api/1/files/upload_multipart/",
            headers=place.headers,
            files={"json": (None, f'{{"name": "{name}"}}'), "file": (name, file)},
        )
    answer.raise_for_status()


def _requests_put(_contender: str, place: Place) -> Work:
    import requests

    session = requests.Session()
    session.get(place.download("warm"), headers=place.headers)
    return lambda: _upload(session, place, f"{place.folder}/big", f"put-{os.getpid()}")


def _requests_many_put(_contender: str, place: Place) -> Work:
    import requests

    session = requests.Session()
    session.get(place.download("warm"), headers=place.headers)

    def put(number: int) -> None:
        name = f"f{number:04}"
        _upload(session, place, f"{place.folder}/many/{name}", f"put-{os.getpid()}/{name}")

    def work() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(1000)))

    return work


def _store(place: Place, path: str) -> Any:
    from rinofs.zarr import RinoStore

    return RinoStore(rinofs(place), path)


def _zarr(contender: str, place: Place) -> Work:
    import xarray as xr

    if contender == "RinoStore":
        store = _store(place, "field.zarr")
        return lambda: xr.open_zarr(store, chunks=None).load()
    if contender == "rinofs":
        rinofs(place)
        options = {"endpoint_url": place.url, "token": place.token}
        return lambda: xr.open_zarr("rino://field.zarr", storage_options=options, chunks=None).load()
    # The download URLs of rinofs have no paths, so nginx serves the same bytes here.
    if contender == "obstore":
        from obstore.store import HTTPStore
        from zarr.storage import ObjectStore

        address = HTTPStore.from_url(f"{place.nginx}/bucket/field.zarr", client_options={"allow_http": True})
        return lambda: xr.open_zarr(ObjectStore(address, read_only=True), chunks=None).load()
    return lambda: xr.open_zarr(f"{place.nginx}/bucket/field.zarr", chunks=None).load()


def _sharded(contender: str, place: Place) -> Work:
    """Read every second of 400 inner chunks of one shard."""
    import zarr

    if contender == "RinoStore":
        store = _store(place, "sharded.zarr")
    else:
        store = _objects(place, "sharded.zarr", ("zarr.json", "c/0/0/0"))

    def work() -> None:
        chunks = zarr.open_array(store, mode="r", zarr_format=3)[::2]
        assert len(chunks) == 200
        assert chunks.reshape(200, -1).any(axis=1).all()  # a chunk that is missing would be zeros

    return work


def _objects(place: Place, folder: str, keys: Sequence[str]) -> Any:
    """Return zarr's store over obstore, for the objects of a folder, each of which has its own URL."""
    from zarr.storage import ObjectStore

    stores = {key: ObjectStore(_obstore(place, f"{folder}/{key}"), read_only=True) for key in keys}

    class Objects(ObjectStore):  # type: ignore[type-arg]
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            return await stores[key].get("", prototype, byte_range) if key in stores else None

    return Objects(stores[keys[0]].store, read_only=True)


def _zarr_write(contender: str, place: Place) -> Work:
    import numpy as np
    import xarray as xr

    warnings.simplefilter("ignore")
    values = np.random.default_rng(3).random((500, 32, 32))
    field = xr.DataArray(values, dims=("time", "y", "x"), name="field").to_dataset()
    encoding = {"field": {"chunks": (1, 32, 32)}}
    name = f"put-{os.getpid()}.zarr"
    target: dict[str, Any] = {"store": f"s3://bench/{name}", "storage_options": _s3_options(place)}
    if contender == "s3fs":
        import s3fs as module

        module.S3FileSystem(**_s3_options(place)).pipe_file(f"bench/warm-{os.getpid()}", b"x")
    else:
        target = {"store": _store(place, name)}
    return lambda: field.to_zarr(**target, encoding=encoding, consolidated=False)


def _s3_options(place: Place) -> dict[str, Any]:
    address = {"s3": {"addressing_style": "path"}}
    return {"key": "any", "secret": "any", "endpoint_url": place.s3, "config_kwargs": address}


def _late_find(contender: str, place: Place) -> Work:
    fs = rinofs(place)
    if contender == "rinofs, plain API":
        fs._backend.client.features.extensions = frozenset()
    return lambda: len(fs.find("folders"))


# The server


def _stream(url: str, headers: dict[str, str]) -> Work:
    import requests

    session = requests.Session()
    buffer = memoryview(bytearray(MEBIBYTE))

    def work() -> None:
        raw = session.get(url, headers=headers, stream=True).raw
        while raw.readinto(buffer):
            pass

    return work


def _server_download(contender: str, place: Place) -> Work:
    if contender == "nginx":
        return _stream(f"{place.nginx}/bucket/big", {})
    return _stream(place.download("big"), place.headers)


def _server_upload(contender: str, place: Place) -> Work:
    if contender == "rinofs serve":
        return _put("rinofs", place)
    if contender == "md5 in a thread, write and fsync in another":
        return lambda: _write_beside_md5(f"{place.folder}/big")

    def work() -> None:
        digests = hashlib.md5(), hashlib.sha256()
        with Path(f"{place.folder}/big").open("rb") as file:
            while piece := file.read(MEBIBYTE):
                for digest in digests:
                    digest.update(piece)

    return work


def _write_beside_md5(source: str) -> None:
    """Copy a file durably while another thread computes its MD5."""
    digest = hashlib.md5()
    pieces: queue.Queue[bytes] = queue.Queue(4)

    def take() -> None:
        while piece := pieces.get():
            digest.update(piece)

    taking = threading.Thread(target=take)
    taking.start()
    with tempfile.NamedTemporaryFile() as target, Path(source).open("rb", buffering=0) as file:
        while piece := file.read(MEBIBYTE):
            pieces.put(piece)
            target.write(piece)
        pieces.put(b"")
        target.flush()
        os.fsync(target.fileno())
    taking.join()


def _readers(contender: str, place: Place) -> Work:
    """Read a file in 8 processes, which are started beforehand."""
    program = (
        "import json, sys; from tests.benchmarks.contenders import FILESYSTEMS, Place\n"
        "place = Place(**json.loads(sys.argv[2])); make, name = FILESYSTEMS[sys.argv[1]]; fs = make(place)\n"
        "print('ready', flush=True); sys.stdin.readline(); fs.cat_file(name(place, 'half'))"
    )
    command = [sys.executable, "-c", program, contender, json.dumps(asdict(place))]
    readers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(8)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ready\n"

    def work() -> None:
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.close()
        assert [reader.wait() for reader in readers] == [0] * 8

    return work


def _clients(contender: str, place: Place) -> Work:
    """Send requests on 16 connections, sequentially on each; return the rate and 99th percentile."""
    import aiohttp

    bare = contender == "bare Starlette route"
    body = f'{{"id": {place.ids["kibi"]}}}'.encode()
    asked: list[tuple[str, str, bytes | None]] = [
        ("GET", place.bare if bare else place.download("kibi"), None),
        ("GET", place.bare, None) if bare else ("POST", f"{place.url}/api/1/files/get_metadata/", body),
    ]
    times: list[float] = []

    async def ask(session: aiohttp.ClientSession) -> None:
        for number in range(400):
            method, url, data = asked[number % 2]
            began = time.perf_counter()
            async with session.request(method, url, data=data) as answer:
                await answer.read()
                answer.raise_for_status()
            times.append(time.perf_counter() - began)

    async def ask_all() -> None:
        headers = {**place.headers, "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session:
            await asyncio.gather(*(ask(session) for _ in range(16)))

    def work() -> dict[str, float]:
        began = time.perf_counter()
        asyncio.run(ask_all())
        seconds = time.perf_counter() - began
        return {"rate": len(times) / seconds, "p99": sorted(times)[len(times) * 99 // 100]}

    return work


def _server_small(contender: str, place: Place) -> Work:
    url = place.bare if contender == "bare Starlette route" else place.download("kibi")
    return _ask(url, "GET", place.headers, None)


def _server_metadata(contender: str, place: Place) -> Work:
    if contender == "bare Starlette route":
        return _ask(place.bare, "GET", place.headers, None)
    body = f'{{"id": {place.ids["kibi"]}}}'.encode()
    headers = {**place.headers, "Content-Type": "application/json"}
    return _ask(f"{place.url}/api/1/files/get_metadata/", "POST", headers, body)


def _ask(url: str, method: str, headers: dict[str, str], body: bytes | None) -> Work:
    import aiohttp

    async def ask_all() -> None:
        async with aiohttp.ClientSession(headers=headers) as session:
            limit = asyncio.Semaphore(16)

            async def ask() -> None:
                async with limit, session.request(method, url, data=body) as answer:
                    await answer.read()
                    answer.raise_for_status()

            await asyncio.gather(*(ask() for _ in range(2000)))

    return lambda: asyncio.run(ask_all())


def _commits(contender: str, place: Place) -> Work:
    import aiohttp

    alone = contender == "a commit for each upload"
    url, token = (place.alone, place.alone_token) if alone else (place.url, place.token)

    def form(number: int) -> aiohttp.FormData:
        data = aiohttp.FormData()
        data.add_field("json", f'{{"name": "commits-{os.getpid()}-{number}"}}')
        data.add_field("file", os.urandom(1024), filename="file")
        return data

    async def send_all() -> None:
        headers = {"Authorization": f"Token {token}"}
        limit = asyncio.Semaphore(16)
        async with aiohttp.ClientSession(headers=headers) as session:

            async def send(number: int) -> None:
                async with limit:
                    answer = await session.post(f"{url}/api/1/files/upload/", data=form(number))
                    answer.raise_for_status()

            await asyncio.gather(*map(send, range(200)))

    return lambda: asyncio.run(send_all())


def _query(_contender: str, place: Place) -> Work:
    fs = rinofs(place)

    def work() -> None:
        frame = fs.query_frame("wide-10000", run=1)
        assert len(frame) == 10_000
        assert frame.path.is_unique

    return work


def _ls(contender: str, place: Place) -> Work:
    fs = rinofs(place)
    count = int(contender.split()[0].replace(",", ""))

    def work() -> None:
        # The same number of objects in total, so that both times are comparable.
        for _ in range(100_000 // count):
            fs.invalidate_cache()
            assert len(fs.ls(f"wide-{count}", detail=False)) == count

    return work


def _query_index(contender: str, place: Place) -> Work:
    fs = rinofs(place)
    field = "number" if contender == "with an index" else "unindexed"

    def work() -> None:
        for number in range(100, 120):
            assert len(list(fs.query(limit=100, **{field: number}))) == 100
            assert fs.count(**{field: number}) == 100

    return work


def _query_million(contender: str, place: Place) -> Work:
    fs = rinofs(place)
    field = "number" if contender == "with an index" else "unindexed"

    def work() -> None:
        for number in range(9000, 9002):
            assert len(list(fs.query(limit=100, **{field: number}))) == 100
            assert fs.count(**{field: number}) == 100

    return work


def _first_ls(_contender: str, place: Place) -> Work:
    made = f"import rinofs; fs = rinofs.RinoFileSystem(endpoint_url={place.url!r}, token={place.token!r})"
    return lambda: subprocess.run([sys.executable, "-c", f"{made}; assert fs.ls('many')"], check=True)


def _growth(what: str) -> Callable[[str, Place], Work]:
    """Return work on a fixed number of objects: in one large folder, or repeatedly in a small one."""

    def prepare(contender: str, place: Place) -> Work:
        fs = rinofs(place)
        count = int(contender.split()[0].replace(",", ""))
        folder = f"wide-{count}"

        def listed() -> None:
            for _ in range(1_000_000 // count):
                fs.invalidate_cache()
                found = fs.ls(folder, detail=False) if what == "ls" else fs.find(folder)
                assert len(found) >= count

        def looked_up() -> None:
            for number in range(0, count, count // 500):
                fs.invalidate_cache()
                assert fs.info(f"{folder}/f{number:06}")["size"] == 1

        def uploaded() -> None:
            for number in range(100):
                fs.pipe_file(f"{folder}/new-{os.getpid()}-{number}", b"x")

        return {"ls": listed, "find": listed, "info": looked_up, "upload": uploaded}[what]

    return prepare


def _day(place: Place, *, cached: bool) -> Any:
    """Return a function that opens the recording of 24 hours; the index of a pass is kept if `cached`."""
    cache = f"{place.folder}-cache" if cached else tempfile.mkdtemp(prefix="rinofs-bench-")
    if not cached:
        atexit.register(shutil.rmtree, cache)
    os.environ["RINOFS_CACHE_DIR"] = cache
    import xarray as xr

    warnings.simplefilter("ignore")
    told = {"endpoint_url": place.url, "token": place.token}
    xr.open_dataset("rino://short.csv", engine="datapack", storage_options=told).load()
    return lambda: xr.open_dataset("rino://day.csv", engine="datapack", storage_options=told)


def _day_open(_contender: str, place: Place) -> Work:
    opened = _day(place, cached=False)

    def work() -> None:
        assert opened().value.shape == (24 * 3600 * RATE, CHANNELS)

    return work


def _day_minute(_contender: str, place: Place) -> Work:
    data = _day(place, cached=True)()
    start = random.randrange(24 * 60) * 60

    def work() -> None:
        part = data.value.sel(time=slice(start, start + 60 - 1 / (2 * RATE))).values
        assert part.sum() == values_of(start * RATE, (start + 60) * RATE).sum()

    return work


WORK: dict[tuple[str, str], Callable[[str, Place], Work]] = {
    ("cat", "raw socket"): _raw_socket,
    ("cat", "requests"): _requests_cat,
    ("cat", "obstore"): _obstore_cat,
    ("get", "curl"): _curl,
    ("get", "local copy"): _local_copy,
    ("ranges", "obstore"): _obstore_ranges,
    ("put", "requests"): _requests_put,
    ("put", PUT): _bare_put,
    ("many-put", "requests in 8 threads"): _requests_many_put,
}

BY_CASE: dict[str, Callable[[str, Place], Work]] = {
    "cat": with_filesystem(_cat),
    "get": with_filesystem(_get),
    "loop": with_filesystem(_loop),
    "random": with_filesystem(_random),
    "again": with_filesystem(_again),
    "ranges": with_filesystem(_ranges),
    "many-cat": with_filesystem(_many_cat),
    "many-get": with_filesystem(_many_get),
    "many-put": with_filesystem(_many_put),
    "many-get-command": _many_get_command,
    "put": _put,
    "readers": _readers,
    "clients": _clients,
    "parquet": with_filesystem(_parquet),
    "zarr": _zarr,
    "zarr-sharded": _sharded,
    "zarr-write": _zarr_write,
    "late-cat": with_filesystem(_late_cat),
    "late-get": with_filesystem(_late_get),
    "narrow-get": with_filesystem(_late_get),
    "wide-get": with_filesystem(_late_get),
    "late-find": _late_find,
    "server-download": _server_download,
    "server-upload": _server_upload,
    "server-small": _server_small,
    "server-metadata": _server_metadata,
    "commits": _commits,
    "ls": _ls,
    "query": _query,
    "query-index": _query_index,
    "query-million": _query_million,
    "first-ls": _first_ls,
    **{f"growth-{what}": _growth(what) for what in ("ls", "find", "upload", "info")},
    "day-open": _day_open,
    "day-minute": _day_minute,
}


def settle() -> None:
    """Call the functions for after a measurement."""
    for one in AFTER:
        one()
