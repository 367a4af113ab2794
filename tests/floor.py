"""Print constraints that pin every direct dependency to the lowest version that pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def floors() -> dict[str, str]:
    """Return the lowest version of each package required by the project, its extras or the quick core."""
    settings = tomllib.loads(PROJECT.read_text("utf-8"))
    project = settings["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    lines = [*project["dependencies"], *extras, *settings["dependency-groups"]["core"]]
    return dict(re.findall(r"^([\w-]+)(?:\[[^]]*\])?>=([\w.]+)", "\n".join(lines), re.MULTILINE))


if __name__ == "__main__":
    for name, version in sorted(floors().items()):
        print(f"{name}=={version}")
