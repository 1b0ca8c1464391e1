"""Sphinx settings: `make docs` builds the pages strictly, every warning is an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "iir-snn"
author = "the iir-snn maintainers"
copyright = f"2026, {author}"
version = release = version_of("iir-snn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "commands",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = False
highlight_language = "text"
html_theme = "furo"
html_title = "iir-snn"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
