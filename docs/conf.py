"""Sphinx: ``make docs`` builds the site in build/docs/; warnings, such as a broken reference, are errors."""

import re
import shutil
from pathlib import Path

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

REPORTS = Path(__file__).parent.parent / "reports"


def _show_reports(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the overview of all scales into the first page; its links lead to the reports, which become pages."""
    if name != "index":
        return
    app.env.note_dependency(REPORTS / "README.md", docname=name)
    overview = (REPORTS / "README.md").read_text(encoding="utf-8").partition("\n")[2]
    overview = re.sub(r"\[[^\]]*\]\(\w+/README\.md\), ", "", overview)
    overview = re.sub(r"\]\((?!https?:)", "](../reports/", overview)
    text = source[0].replace(":::{reports}\n:::", overview)
    source[0] = re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./(reports/\w+/index\.html)\)", r'<a href="\2">\1</a>', text)


def _copy_reports(app: Sphinx, error: Exception | None) -> None:
    """Each report is one page that holds everything it shows; it leads to its figures as files."""
    for page in [] if error else REPORTS.glob("*/index.html"):
        shutil.copytree(page.parent, Path(app.outdir) / "reports" / page.parent.name, dirs_exist_ok=True)


def _list_the_rest(app: Sphinx, name: str, source: list[str]) -> None:
    """Put pages that index.md does not name at the end of its contents."""
    if name == "index":
        named = set(re.findall(r"^[\w/-]+$", source[0], re.MULTILINE))
        rest = sorted(app.env.found_docs - named - {"index"})
        if rest:
            source[0] += "\n```{toctree}\n:caption: More\n:hidden:\n" + "\n".join(rest) + "\n```\n"


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", _show_reports)
    app.connect("source-read", _list_the_rest)
    app.connect("build-finished", _copy_reports)
