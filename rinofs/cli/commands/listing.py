"""Commands that list: `ls`, `tree`, `find`, `du`."""

from __future__ import annotations

import fnmatch
import sys
from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.errors import Problems
from rinofs.cli.locations import URL, entries, expand, is_folder, tree_of
from rinofs.cli.output import modified, show_json, size_text, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rinofs.cli.locations import Info, Location

_urls = click.argument("urls", type=URL, metavar="URL...", nargs=-1, required=True)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_human = click.option(
    "-h", "--human-readable", "for_people", is_flag=True, help="Sizes such as 1.2K and 34M."
)


@click.command()
@_urls
@click.option("-l", "--long", is_flag=True, help="Show size in bytes and modification time (UTC).")
@_human
@click.option("-a", "-A", "-1", "as_typed", is_flag=True, hidden=True, help="What `ls` does anyway.")
@click.option("-R", "recursive", is_flag=True, hidden=True, help="Point to `tree` and `find`.")
@_json
def ls(
    urls: tuple[str, ...], long: bool, for_people: bool, as_typed: bool, recursive: bool, as_json: bool
) -> None:
    """List folders; a trailing slash marks a folder."""
    del as_typed  # shows hidden files, and one name per line
    if recursive:
        raise click.UsageError("-R: `rinofs tree` and `rinofs find` show what is below a folder")
    problems = Problems()
    listed: list[tuple[Location, list[Info]]] = []
    for here in expand(urls, problems):
        with problems.collected(here.url):
            listed.append((here, entries(here)))
    if as_json:
        show_json([_described(here, info) for here, found in listed for info in found])
    else:
        write_lines(_ls_lines(listed, long=long, for_people=for_people))
    problems.exit_if_any()


def _ls_lines(listed: list[tuple[Location, list[Info]]], *, long: bool, for_people: bool) -> Iterator[str]:
    files = [(here.url, found[0]) for here, found in listed if _is_itself(here, found)]
    folders = [(here, found) for here, found in listed if not _is_itself(here, found)]
    yield from _rows(files, long=long, for_people=for_people)
    for number, (here, found) in enumerate(folders):
        if len(listed) > 1:
            yield from ([""] if files or number else [])
            yield f"{here.url}:"
        yield from _rows([(_last(info), info) for info in found], long=long, for_people=for_people)


def _rows(named: list[tuple[str, Info]], *, long: bool, for_people: bool) -> Iterator[str]:
    shown = [name + "/" * (is_folder(info) and not name.endswith("/")) for name, info in named]
    if not long:
        yield from shown
        return
    sizes = [
        "-" if is_folder(info) else size_text(info.get("size"), for_people=for_people) for _, info in named
    ]
    width = max(map(len, sizes), default=0)
    for (_, info), size, name in zip(named, sizes, shown, strict=True):
        time = modified(info)
        yield f"{size:>{width}}  {time.strftime('%Y-%m-%d %H:%M:%S') if time else '-':<19}  {name}"


def _is_itself(here: Location, found: list[Info]) -> bool:
    return len(found) == 1 and found[0]["name"] == here.path and not is_folder(found[0])


def _last(info: Info) -> str:
    return str(info["name"]).rstrip("/").rpartition("/")[2]


def _described(here: Location, info: Info) -> dict[str, Any]:
    return {"url": here.at(str(info["name"]).rstrip("/")).url, **info}


@click.command()
@click.argument("url", type=URL)
@click.option("-L", "--level", type=click.IntRange(min=1), help="Descend at most this many levels.")
@click.option("-h", "--human-readable", "for_people", is_flag=True, help="Show sizes such as 1.2K and 34M.")
@_json
def tree(url: str, level: int | None, for_people: bool, as_json: bool) -> None:
    """Show a folder and its contents as a tree."""
    problems = Problems()
    for here in expand([url], problems):
        with problems.collected(here.url):
            root = _nested(here, tree_of(here, problems, level))
            if as_json:
                show_json(root)
            else:
                write_lines(_tree_lines(here, root, for_people=for_people))
    problems.exit_if_any()


def _nested(here: Location, found: list[Info]) -> dict[str, Any]:
    root: dict[str, Any] = {"url": here.url, "name": here.name, "type": "directory", "children": []}
    nodes = {here.path.rstrip("/"): root}
    for info in found:
        path = str(info["name"]).rstrip("/")
        if path == here.path:
            return {"url": here.url, **info}
        node: dict[str, Any] = {"url": here.at(path).url, **info, "name": _last(info)}
        if is_folder(info):
            node["children"] = []
        nodes[path] = node
        nodes[path.rpartition("/")[0]]["children"].append(node)
    return root


def _tree_lines(here: Location, root: dict[str, Any], *, for_people: bool) -> Iterator[str]:
    yield here.url
    counts = {"files": 0, "folders": 0}
    branches = _branches()

    def below(node: dict[str, Any], indent: str) -> Iterator[str]:
        children = node.get("children", [])
        for child in children:
            last = child is children[-1]
            folder = is_folder(child)
            counts["folders" if folder else "files"] += 1
            size = f"  [{size_text(child.get('size'), for_people=True)}]" if for_people and not folder else ""
            yield f"{indent}{branches[1 if last else 0]}{child['name']}{'/' * folder}{size}"
            yield from below(child, indent + branches[3 if last else 2])

    yield from below(root, "")
    yield ""
    yield f"{_count(counts['folders'], 'folder')}, {_count(counts['files'], 'file')}"


def _branches() -> tuple[str, str, str, str]:
    drawn = ("├── ", "└── ", "│   ", "    ")
    try:
        "".join(drawn).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "|-- ", "`-- ", "|   ", "    "
    return drawn


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command()
@_urls
@click.option("--name", "pattern", metavar="GLOB", help="Only matching names; case-sensitive.")
@click.option("--type", "kind", type=click.Choice(["f", "d"]), help="Only files (f) or folders (d).")
@click.option("--maxdepth", type=click.IntRange(min=1), help="Descend at most this many levels.")
@click.option("-0", "--print0", "with_nul", is_flag=True, help="End each URL with NUL, for `xargs -0`.")
@_json
def find(
    urls: tuple[str, ...],
    pattern: str | None,
    kind: str | None,
    maxdepth: int | None,
    with_nul: bool,
    as_json: bool,
) -> None:
    """List everything below folders, one URL per line."""
    problems = Problems()
    found: list[dict[str, Any]] = []
    for here in expand(urls, problems):
        with problems.collected(here.url):
            wanted = _wanted(tree_of(here, problems, maxdepth), pattern, kind)
            found += [_described(here, info) for info in wanted]
    if as_json:
        show_json(found)
    elif with_nul:
        sys.stdout.write("".join(f"{info['url']}\0" for info in found))
    else:
        write_lines(info["url"] for info in found)
    problems.exit_if_any()


def _wanted(found: Iterable[Info], pattern: str | None, kind: str | None) -> Iterator[Info]:
    for info in found:
        if kind is not None and is_folder(info) != (kind == "d"):
            continue
        if pattern is None or fnmatch.fnmatchcase(_last(info), pattern):
            yield info


@click.command()
@_urls
@click.option("-s", "--summarize", is_flag=True, help="Only the total of each URL.")
@_human
@_json
def du(urls: tuple[str, ...], summarize: bool, for_people: bool, as_json: bool) -> None:
    """Show the total size of the files below folders, in bytes."""
    problems = Problems()
    totals: list[tuple[str, int]] = []
    for here in expand(urls, problems):
        with problems.collected(here.url):
            sizes = _totals(here, tree_of(here, problems))
            totals += sizes[-1:] if summarize else sizes
    if as_json:
        show_json([{"url": url, "size": size} for url, size in totals])
    else:
        write_lines(f"{size_text(size, for_people=for_people)}\t{url}" for url, size in totals)
    problems.exit_if_any()


def _totals(here: Location, found: list[Info]) -> list[tuple[str, int]]:
    """Return the total size below each folder: the deepest folders first, the given one last."""
    top = here.path.rstrip("/")
    sizes: dict[str, int] = {}
    whole = 0
    for info in found:
        path = str(info["name"]).rstrip("/")
        if is_folder(info):
            sizes.setdefault(path, 0)
            continue
        size = int(info.get("size") or 0)
        whole += size
        folder = path.rpartition("/")[0]
        while len(folder) > len(top):
            sizes[folder] = sizes.get(folder, 0) + size
            folder = folder.rpartition("/")[0]
    inner = sorted(sizes, key=lambda path: [*path.split("/"), "\U0010ffff"])
    return [(here.at(path).url, sizes[path]) for path in inner] + [(here.url, whole)]
