"""Paths in a datapack -> names of the files that are written for them, which any system takes."""

from __future__ import annotations

import re

from rinofs.datapack.authoring.encoding import FORMATS
from rinofs.datapack.document.naming import DOCUMENT_NAME, name_of_part

_UNFIT = re.compile(r'[<>:"\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_LONGEST = 120  # characters of a file's name


class FileNames:
    """The names that are taken in the folder of one datapack."""

    def __init__(self) -> None:
        self._files = {DOCUMENT_NAME}
        self._folders: set[str] = set()

    def link(self, path: str, extension: str = "") -> str:
        """Take a free name like a path in the datapack.

        Parameters
        ----------
        path : str
            The path.
        extension : str, optional
            Of the file, in place of that of another format; by default the path's own.
        """
        parts = [_fit(name_of_part(part)) for part in path.split("/")]
        stem, dot, suffix = parts[-1].rpartition(".")
        if not extension:
            stem, extension = (stem, dot + suffix) if stem else (parts[-1], "")
        elif f".{suffix.lower()}" not in {form.extension for form in FORMATS.values()} or not stem:
            stem = parts[-1]
        link = _free(self._folder(parts[:-1]) + stem, extension, self._files | self._folders)
        self._files.add(link.lower())
        return link

    def _folder(self, parts: list[str]) -> str:
        folder = ""
        for part in parts:
            folder = _free(f"{folder}{part}", "", self._files)
            self._folders.add(folder.lower())
            folder += "/"
        return folder


def _free(stem: str, extension: str, taken: set[str]) -> str:
    # Not all systems tell cases apart.
    chosen, number = f"{stem}{extension}", 2
    while chosen.lower() in taken:
        chosen, number = f"{stem}~{number}{extension}", number + 1
    return chosen


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name.replace("/", "_")).strip(" .")[:_LONGEST] or "_"
