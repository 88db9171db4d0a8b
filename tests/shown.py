"""The code that the pages show, and the tests that say they execute it (``@pytest.mark.executes``)."""

import ast
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from places import ROOT, TESTS

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


class Block(NamedTuple):
    """One code block of a page, under the heading it stands under."""

    page: Path
    heading: str
    kind: str
    text: str

    @property
    def name(self) -> str:
        """As a marker says it, in part with ``*``: ``docs/howto-model.md#1. The module:python``."""
        return f"{self.page.relative_to(ROOT).as_posix()}#{self.heading}:{self.kind}"

    @property
    def commands(self) -> list[str]:
        """What is typed in a console block, without comments."""
        if self.kind != "console":
            return []
        typed = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [line.partition("  #")[0].strip() for line in typed]


class Claim(NamedTuple):
    """A test that says it executes a command, or the blocks whose names a pattern fits."""

    what: str
    test: str
    source: str

    def covers(self, block: Block) -> bool:
        """Whether the blocks it speaks of are such as this one."""
        return ".md#" in self.what and fnmatchcase(block.name, self.what)


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page."""
    found, heading, kind, lines = [], "", None, []
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = re.match(r"\s*```(.*)$", line)
        if fence and kind is None:
            kind, lines = fence[1].strip(), []
        elif fence:
            found.append(Block(page, heading, kind or "", "\n".join(lines) + "\n"))
            kind = None
        elif kind is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert kind is None, f"{page.name}: a code block has no end"
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = {command for block in BLOCKS for command in block.commands}


def claims() -> list[Claim]:
    """What the collected tests say they execute: the arguments of the marker on functions that pytest collects."""
    found = []
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not (isinstance(node, ast.FunctionDef) and node.name.startswith("test_")):
                continue
            marks = [
                mark
                for mark in node.decorator_list
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.executes"
            ]
            body = "\n".join(map(ast.unparse, node.body))
            for mark in marks:
                found += [
                    Claim(ast.literal_eval(what), f"{file.stem}::{node.name}", body) for what in mark.args
                ]
    return found


def subject(command: str) -> str:
    """The word of a command that says most: the last one that is neither option nor value."""
    words = shlex.split(command)
    end = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    return [word for word in words[:end] if re.fullmatch(r"[\w@=]+", word)][-1]
