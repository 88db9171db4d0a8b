"""The rooms of the package: a module imports its own room and those below it, and fits on a few screens."""

import ast
import re
from itertools import pairwise
from typing import NamedTuple

import pytest
from places import ROOT, TESTS

PACKAGE = ROOT / "src" / "l2dynamics"
FLOORS = (
    {"paths"},
    {"storage"},
    {"results"},
    {"arguments", "peaks"},
    {"autol2_arrays"},
    {"autol2", "prediction"},
    {"autol2_optax"},
    {"suggestion"},
    {"flax", "torch"},
    {"lightning"},
    {"data"},
    {"models"},
    {"experiments"},
    {"training"},
    {"analysis"},
    {"running"},
    {"theory"},
    {"tracking"},
    {"figures"},
    {"claims"},
    {"report"},
    {"pipeline"},
    {"cli"},
)
"""Rooms, and modules beside them, from the bottom to the top; those of one floor do not know each other."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
DOORS = {"", "__main__"}
"""``l2dynamics`` itself, whose import executes nothing else and gives the version, and ``python -m l2dynamics``."""
LONGEST = 350
FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
"""The modules of the package by their names without its own: ``training.update``, and ``training`` for a room."""


class Import(NamedTuple):
    """One module that another one names, wherever it does: at the top, in a function, for the type checker."""

    importer: str
    line: int
    imported: str
    at_once: bool  # executed when the importer is imported

    def __str__(self) -> str:
        return f"{FILES[self.importer].relative_to(PACKAGE)}:{self.line} imports {self.imported}"


def named(node: ast.AST) -> list[str]:
    """The modules of the package that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        # Of `from a import b` it is a.b, if that is a module, that is meant.
        pairs = [(node.module, f"{node.module}.{alias.name}") for alias in node.names]
        names = [whole if inner(whole) in FILES else module for module, whole in pairs]
    else:
        return []
    return [found for name in names if (found := inner(name)) in FILES]


def inner(name: str) -> str | None:
    """A module's name inside the package; None outside of it."""
    head, _, rest = name.partition(".")
    return rest if head == PACKAGE.name else None


def imports(importer: str, text: str) -> list[Import]:
    """All imports of a module from the package."""
    found = []

    def visit(node: ast.AST, at_once: bool) -> None:
        found.extend(Import(importer, node.lineno, name, at_once) for name in named(node))
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            visit(child, at_once and not later and not typing)

    visit(ast.parse(text), True)
    return found


IMPORTS = [one for name, file in FILES.items() for one in imports(name, file.read_text(encoding="utf-8"))]


def room(module: str) -> str:
    """The room a module is in; its own name if it stands beside the rooms."""
    return module.partition(".")[0]


def upward(found: list[Import]) -> list[str]:
    """The imports that do not point into the importer's room or downwards."""
    between = [one for one in found if room(one.importer) != room(one.imported)]
    inside = [one for one in between if not {room(one.importer), room(one.imported)} & DOORS]
    return [str(one) for one in inside if FLOOR[room(one.imported)] >= FLOOR[room(one.importer)]]


def cycles(found: list[Import]) -> list[str]:
    """The modules that import themselves through others: one way round for each group of them."""
    graph: dict[str, list[str]] = {name: [] for name in FILES}
    for one in found:
        graph[one.importer].append(one.imported)
    done: set[str] = set()
    ways = []

    def follow(module: str, way: list[str]) -> None:
        if module in way:
            ways.append(" -> ".join([*way[way.index(module) :], module]))
        elif module not in done:
            for other in graph[module]:
                follow(other, [*way, module])
            done.add(module)

    for module in graph:
        follow(module, [])
    return ways


def test_every_room_has_its_floor():
    assert {room(name) for name in FILES} - DOORS == set(FLOOR)


def test_the_page_of_the_rooms_lists_them_from_the_top_to_the_bottom():
    page = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    table = page.partition("| --- |")[2].partition("\n\n")[0]
    listed = [re.findall(r"`(\w+)(?:/|\.py)`", line.split("|")[1]) for line in table.splitlines()[1:]]
    assert sorted(name for names in listed for name in names) == sorted(FLOOR)
    for above, below in pairwise(listed):
        assert min(FLOOR[name] for name in above) > max(FLOOR[name] for name in below), (above, below)


def test_tests_stand_in_folders_named_like_the_rooms():
    folders = {file.parent.relative_to(TESTS).as_posix() for file in TESTS.rglob("test_*.py")}
    rooms = {name for name, file in FILES.items() if file.stem == "__init__"} - {""}
    assert folders == rooms | {".", "docs", "project"}


def test_imports_point_downwards():
    found = upward(IMPORTS)
    assert not found, "\n".join(found)


def test_no_module_imports_itself_through_others():
    found = cycles(IMPORTS)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "folder", sorted({name for name, file in FILES.items() if file.stem == "__init__"} - {""})
)
def test_entering_a_room_opens_no_module(folder):
    found = [str(one) for one in IMPORTS if one.importer == folder and one.at_once]
    assert not found, "\n".join(found)


def test_no_module_is_longer_than_a_few_screens():
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in FILES.items()}
    found = [
        f"{name}: {length} lines, more than {LONGEST}" for name, length in lengths.items() if length > LONGEST
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("importer", "text", "expected"),
    [
        ("data.specs", "from l2dynamics.training import update", ["data/specs.py:1 imports training.update"]),
        ("data.specs", "import os\nimport l2dynamics.cli", ["data/specs.py:2 imports cli"]),
        ("data.specs", "def f():\n    from l2dynamics import figures", ["data/specs.py:2 imports figures"]),
        (
            "data.specs",
            "if TYPE_CHECKING:\n    from l2dynamics.cli import main",
            ["data/specs.py:2 imports cli"],
        ),
        ("autol2", "from l2dynamics import prediction", ["autol2.py:1 imports prediction"]),
        ("data.specs", "from l2dynamics.data import records\nfrom l2dynamics import paths", []),
        ("", "def f():\n    from l2dynamics import cli", []),
    ],
)
def test_an_upward_import_is_found_wherever_it_stands(importer, text, expected):
    assert upward(imports(importer, text)) == expected


def test_a_cycle_is_found_and_shown():
    texts = {
        "data.specs": "from l2dynamics.data.records import x",
        "data.records": "def f():\n    from l2dynamics.data import manifests",
        "data.manifests": "from l2dynamics.data import specs",
    }
    found = [one for name, text in texts.items() for one in imports(name, text)]
    (way,) = cycles(found)
    assert sorted(way.split(" -> ")[1:]) == sorted(texts)
