"""Which modules of the package a file imports, directly or through others.

DVC does not follow imports: stage ``code`` writes this closure down, file by file, for every other stage to depend on.
Resume keys hash it, so that an edited trainer never continues an old checkpoint.
"""

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
BY_VALUE = "experiments"
"""The room that only checks and lists numbers; a key hashes the numbers themselves, so it leaves its code out."""


def _module_files(name: str) -> list[Path]:
    """Files that ``import name`` executes: the module and the ``__init__`` of every package above it."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return []
    files, folder = [PACKAGE / "__init__.py"], PACKAGE
    for part in parts[1:]:
        if (folder / f"{part}.py").is_file():
            files.append(folder / f"{part}.py")
            break
        if not (folder / part / "__init__.py").is_file():
            break
        folder = folder / part
        files.append(folder / "__init__.py")
    return files


@cache
def _imports(file: Path) -> frozenset[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            found.update(_module_files(name))
    return frozenset(found)


def closure(script: Path, unfollowed: Sequence[str] = ()) -> list[Path]:
    """Files of the package that ``script`` (itself included) imports, also inside functions; sorted.

    Args:
        script: where to begin.
        unfollowed: rooms whose modules are left out, with what only they import.
    """
    seen, pending = set(), [script.resolve()]
    while pending:
        file = pending.pop()
        if file not in seen and room(file) not in unfollowed:
            seen.add(file)
            pending += _imports(file)
    return sorted(seen)


def room(file: Path) -> str:
    """The folder of the package that a file lies in; empty for its top level and for files outside."""
    inside = file.relative_to(PACKAGE).parts if file.is_relative_to(PACKAGE) else ()
    return inside[0] if len(inside) > 1 else ""


def listing(root: Path, script: Path, *modules: Path) -> str:
    """The code that the outputs of a stage depend on.

    Rooms of which no output depends are left out: an edit of a progress bar trains nothing again. What MLflow and the
    report show does depend on ``tracking``.

    Args:
        root: the checkout.
        script: of the stage.
        modules: of the package that the script imports by name.

    Returns:
        One line for every file: the beginning of its fingerprint, its path.
    """
    unfollowed = ("pipeline",) if script.stem in ("report", "overview", "track") else ("pipeline", "tracking")
    files = {file for start in (script, *modules) for file in closure(start, unfollowed)}
    return "".join(
        f"{fingerprint(file)[:16]}  {file.relative_to(root.resolve()).as_posix()}\n"
        for file in sorted(files)
        if room(file) != "running"
    )


def fingerprint(file: Path) -> str:
    """SHA-256 of the code in a file: neither comments nor docstrings nor the layout count."""
    state = file.stat()
    return _fingerprint(file, state.st_mtime_ns, state.st_size)


@cache
def _fingerprint(file: Path, _modified: int, _size: int) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                del body[0]
    return hashlib.sha256(_plain(tree).encode()).hexdigest()


def _plain(node: Any) -> str:
    """A syntax tree as text that is the same in every version of Python.

    `ast.unparse` quotes f-strings in another way from 3.12 on; `ast.dump` shows the fields, mostly empty, that a
    version has added. Python 3.12 ends some format specifications with an empty constant.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_plain, node))}]"
    if isinstance(node, ast.JoinedStr):
        parts = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        return f"JoinedStr({_plain(parts)})"
    if not isinstance(node, ast.AST):
        return repr(node)
    filled = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return f"{type(node).__name__}({','.join(f'{name}={_plain(value)}' for name, value in filled)})"


def code_key(*modules: str) -> str:
    """SHA-256 over the code that ``modules`` (by their full names) execute, without docstrings and comments.

    The room ``BY_VALUE`` is left out: whoever makes a key hashes their values.
    """
    files = {file for name in modules for start in _module_files(name) for file in closure(start)}
    digest = hashlib.sha256()
    for file in sorted(file for file in files if room(file) != BY_VALUE):
        digest.update(f"{file.relative_to(PACKAGE).as_posix()}\n{fingerprint(file)}\n".encode())
    return digest.hexdigest()
