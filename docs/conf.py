"""Sphinx: ``make docs`` builds the site in build/docs/; warnings, such as a broken reference, are errors."""

import re

from sphinx.application import Sphinx

project = "l2dynamics"
author = "the l2dynamics contributors"
html_title = "l2dynamics"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Links that leave docs/ (../README.md, ../examples) are for readers of the repository; test_docs.py checks them.
suppress_warnings = ["myst.xref_missing"]
# Excerpts of shell sessions with elisions are no valid code.
highlight_language = "none"


def _list_the_rest(app: Sphinx, name: str, source: list[str]) -> None:
    """Put pages that index.md does not name at the end of its contents."""
    if name == "index":
        named = set(re.findall(r"^[\w/-]+$", source[0], re.MULTILINE))
        rest = sorted(app.env.found_docs - named - {"index"})
        if rest:
            source[0] += "\n```{toctree}\n:caption: More\n:hidden:\n" + "\n".join(rest) + "\n```\n"


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", _list_the_rest)
