"""How Sphinx builds the pages."""

from __future__ import annotations

from rinofs import __version__

project = "rinofs"
author = "The rinofs developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "rinofs"
exclude_patterns = ["_build", "cli_reference.md"]
autodoc_typehints = "description"
suppress_warnings = ["myst.xref_missing"]
