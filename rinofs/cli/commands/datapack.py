"""The commands `rinofs datapack new`, `validate`, `tree` and `import`; `push` has those for the service."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import click
import fsspec

from rinofs.cli.commands.push import document_of, pull, push
from rinofs.cli.errors import FAILED, CommandError, complain
from rinofs.cli.locations import URL
from rinofs.cli.output import counted, show_json, write_lines
from rinofs.datapack import Container, DataNode, Document, Tree, dump, parse
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.datapack.document.new import new_document
from rinofs.datapack.document.validation import flaws
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.datapack import Node


_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def datapack() -> None:
    """Create and inspect datapacks: trees of data files described by one JSON document."""


@datapack.command()
@click.argument("folder", type=URL)
@click.option(
    "-o", "--output", help="Where to write the document; FOLDER/datapack.json by default, - prints it."
)
@click.option("--name", help="Name of the datapack; the folder's by default.")
@click.option("--author", default="", help="Who made it.")
@click.option("--description", default="", help="What it holds.")
@click.option("--keyword", "keywords", multiple=True, help="A word to find it by; may be given again.")
@click.option("--force", is_flag=True, help="Replace a document that is there.")
@_json
def new(
    folder: str,
    output: str | None,
    name: str | None,
    author: str,
    description: str,
    keywords: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a document for the files in FOLDER: folders become containers, files become data nodes."""
    fs, path = fsspec.url_to_fs(folder)
    document = new_document(fs, path, name=name, author=author, description=description, keywords=keywords)
    text = dump(document, indent=2) + "\n"
    if output == "-":
        write_lines(text.splitlines())
        return
    where = output or f"{folder.rstrip('/')}/{DOCUMENT_NAME}"
    _write(where, text, force=force)
    kinds = [node.kind for _, node in Tree(document).walk()]
    counts = {"containers": kinds.count("container"), "files": kinds.count("data")}
    if as_json:
        show_json({"document": where, **counts})
    else:
        files, containers = counted(counts["files"], "file"), counted(counts["containers"], "container")
        write_lines([f"{where}: {files} in {containers}"])


def _write(where: str, text: str, *, force: bool) -> None:
    fs, path = fsspec.url_to_fs(where)
    if not force and fs.exists(path):
        raise CommandError("already exists", where, "--force replaces it")
    fs.pipe_file(path, text.encode())


@datapack.command()
@click.argument("document", type=URL)
@_json
def validate(document: str, as_json: bool) -> None:
    """Check DOCUMENT, or the one in a folder, against the datapack schema. Exits with 1 if it is invalid."""
    document = document_of(document)
    try:
        found = [{"path": flaw.path, "problem": flaw.problem} for flaw in flaws(parse(_content(document)))]
    except InvalidDatapackError as error:
        found = [{"path": "", "problem": str(error)}]
    if as_json:
        show_json({"valid": not found, "flaws": found})
    for flaw in found if not as_json else []:
        complain(": ".join(part for part in (document, flaw["path"], flaw["problem"]) if part))
    if found:
        sys.exit(FAILED)
    if not as_json:
        write_lines([f"{document}: valid"])


@datapack.command()
@click.argument("document", type=URL)
@_json
def tree(document: str, as_json: bool) -> None:
    """Show the nodes of DOCUMENT, or the one in a folder, with the names that `datapack://` URLs use."""
    document = document_of(document)
    try:
        read = parse(_content(document))
    except InvalidDatapackError as error:
        raise CommandError(str(error), document) from error
    if as_json:
        show_json(
            {"info": dict(read.info.fields), "nodes": [_described(*entry) for entry in Tree(read).walk()]}
        )
    else:
        write_lines(_drawn(read))


@datapack.command(name="import")
@click.argument("source", type=URL)
@click.argument("dest", type=URL)
@click.option("--force", is_flag=True, help="Replace a datapack that is there.")
@_json
def import_(source: str, dest: str, force: bool, as_json: bool) -> None:
    """Convert SOURCE, a zip or folder of repoVizz 1, to a datapack at DEST. Both may be URLs.

    Signals become CSV files with rates and labels, notes become events. Audio, video and other files are
    copied unchanged.
    """
    from rinofs.datapack.authoring.repovizz1 import import_pack

    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            made = import_pack(source, dest, overwrite=force)
    except InvalidDatapackError as error:
        raise CommandError(str(error).removeprefix(f"{source}: "), source) from error
    except FileExistsError as error:
        raise CommandError("already exists", dest, "--force replaces it") from error
    for doubt in doubts:
        complain(str(doubt.message))
    if as_json:
        show_json({"datapack": made.url, "files": made.nodes, "missing": list(made.missing)})
        return
    write_lines([f"{made.url}: {counted(made.nodes, 'file')}"])


datapack.add_command(push)
datapack.add_command(pull)


def _content(document: str) -> bytes:
    fs, path = fsspec.url_to_fs(document)
    content: bytes = fs.cat_file(path)
    return content


def _described(path: str, node: Node) -> dict[str, Any]:
    about = {"path": path, "class": node.kind, "name": node.name, "text": node.text}
    if not isinstance(node, DataNode):
        return about
    return {**about, "link": node.link, "mime": node.mime, "type": node.datatype}


def _drawn(document: Document) -> Iterator[str]:
    tree = Tree(document)
    yield document.info.name or "datapack"
    # Number of remaining siblings on each level.
    left = [len(document.children)]
    for path, node in tree.walk():
        while not left[-1]:
            left.pop()
        left[-1] -= 1
        lines = "".join("│   " if count else "    " for count in left[:-1])
        branch = "├── " if left[-1] else "└── "
        yield lines + branch + path.rpartition("/")[2] + _told(node)
        if isinstance(node, Container):
            left.append(len(node.children))


def _told(node: Node) -> str:
    if not isinstance(node, DataNode):
        return "/"
    return f"  [{node.mime}]" if node.mime else ""
