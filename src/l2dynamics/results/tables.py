"""Results files: one long table (CSV) and one passport (JSON) per sweep, and one pair of stage ``theory``.

They are the interface between training and everything downstream, and the only truth: figures, claims and the
MLflow view are rebuilt from them. A sweep's table has one row per evaluation of a run; a diverged run keeps its rows,
with NaN from the divergence on. The passport says how the table was made and holds its SHA-256.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics import paths
from l2dynamics.paths import DEFAULT_SCALE
from l2dynamics.results.columns import BLOCKS as BLOCKS
from l2dynamics.results.columns import COLUMNS as COLUMNS
from l2dynamics.results.columns import METRICS as METRICS
from l2dynamics.results.columns import RUN_COLUMNS as RUN_COLUMNS
from l2dynamics.storage import line_endings
from l2dynamics.storage.atomic import json_bytes, plain, replace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class ResultsError(ValueError):
    """A results file is missing, damaged or does not have the form described in this module."""


@dataclass(frozen=True)
class Form:
    """The columns of a table: numbers, NaN where one does not apply, but for those named here.

    Attributes:
        columns: those that it must have, in the order of the file; others may follow.
        text: those that hold text.
        whole: those that hold whole numbers.
        counts: those that hold whole numbers or nothing.
        of_runs: its rows are evaluations: those of a run follow each other, with increasing steps.
    """

    columns: tuple[str, ...]
    text: tuple[str, ...]
    whole: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    of_runs: bool = False


RUNS = Form(COLUMNS, text=("run", "group", "setup"), whole=("seed", "step"), counts=BLOCKS, of_runs=True)
#: One row per point: ``panel`` (a, b, c of Figure 5, or kernel, minimum, decay, test, own), ``curve``, ``x``, ``y`` and
#: the parameters that the point belongs to.
POINTS = Form(
    ("panel", "curve", "x", "y", "low", "high", "k", "gamma", "l2", "width", "depth", "seed"),
    text=("panel", "curve"),
)


def form(name: str) -> Form:
    """The form of the table ``name``."""
    return POINTS if name == "theory" else RUNS


@dataclass(frozen=True)
class Results:
    """The results of one sweep, or of stage ``theory``.

    Attributes:
        name: name of the sweep and of its files, e.g. ``fc``.
        table: one row per evaluation, see :mod:`l2dynamics.results.columns` (``measure_c`` has ``setup`` after them);
            of ``theory`` one row per point, see :data:`POINTS`.
        passport: data, setup, resolved configuration, seeds, versions, machine and times of the sweep.
    """

    name: str
    table: pd.DataFrame
    passport: dict[str, Any]

    @property
    def file(self) -> str:
        """Where the table lies in the checkout, for messages."""
        scale = self.passport.get("scale", DEFAULT_SCALE)
        return paths.shown(paths.results(Path(), scale) / f"{self.name}.csv")


def stage(name: str) -> str:
    """Return the DVC stage that writes the results ``name``."""
    if name in {"measure_c", "theory"}:
        return name
    return f"autol2@{name.removeprefix('autol2_')}" if name.startswith("autol2_") else f"sweep@{name}"


def block_sizes(images: int) -> np.ndarray:
    """How many of the test images lie in each of the :data:`BLOCKS`, ``[blocks]``."""
    return np.bincount(np.arange(images) % len(BLOCKS), minlength=len(BLOCKS))


def names(root: Path | None = None, scale: str | None = None) -> list[str]:
    """Return the names of all results of a scale (None: that in force) that are long tables, sorted."""
    folder = paths.results(root or paths.find_root(), scale)
    return sorted(p.stem for p in folder.glob("*.json") if form(p.stem) is RUNS and _NAME.fullmatch(p.stem))


def load(name: str, root: Path | None = None, scale: str | None = None) -> Results:
    """Read and verify the results ``name``.

    Args:
        name: name of the sweep, e.g. ``fc`` or ``autol2_wrn``.
        root: the checkout; None finds it from the working directory.
        scale: None is the one in force.

    Raises:
        ResultsError: a file is missing, unreadable, altered since it was written, or lacks a column. The
            message is one line that names the file and the stage that makes it anew.
    """
    root = root or paths.find_root()
    passport = load_passport(name, root, scale)
    csv, passport_file = _files(name, root, scale)
    content = _read(name, csv)
    expected = passport.get("csv_sha256")
    if expected != hashlib.sha256(content).hexdigest():
        if isinstance(expected, str) and line_endings.converted(content, expected):
            raise ResultsError(f"{paths.shown(csv)} is damaged: {line_endings.CONVERTED}")
        raise _damaged(name, csv, f"its checksum is not the one in {passport_file.name}")
    try:
        return Results(name, parse(content, form(name)), passport)
    except ValueError as error:
        raise _damaged(name, csv, str(error)) from error


def load_passport(name: str, root: Path, scale: str | None = None) -> dict[str, Any]:
    """Read the passport alone, e.g. for the scale of the results.

    Raises:
        ResultsError: it is missing or damaged.
    """
    _, path = _files(name, root, scale)
    content = _read(name, path)
    try:
        passport = json.loads(content)
    except ValueError as error:
        raise _damaged(name, path, "it is not JSON") from error
    if not isinstance(passport, dict):
        raise _damaged(name, path, "it is not a JSON object")
    return passport


def write(results: Results, root: Path) -> None:
    """Write table and passport, each atomically; the checksum of the table is added to the passport.

    A process killed between the two leaves a pair that :func:`load` refuses, never a wrong one.

    Args:
        results: name, table with the columns of its :func:`form` in any order, passport.
        root: the checkout.

    Raises:
        ResultsError: the table lacks a column, a run's steps do not increase, or a run's name occurs twice.
        OSError: a file cannot be written, e.g. the disk is full; the previous file is intact.
    """
    csv, passport_file = _files(results.name, root, results.passport.get("scale"))
    try:
        content = table_bytes(results.table, form(results.name))
    except ResultsError as error:
        raise ResultsError(f"results {results.name}: {error}") from None
    passport = plain({**results.passport, "csv_sha256": hashlib.sha256(content).hexdigest()})
    csv.parent.mkdir(parents=True, exist_ok=True)
    replace(csv, content)
    replace(passport_file, json_bytes(passport))


def table_bytes(table: pd.DataFrame, form: Form = RUNS) -> bytes:
    """Return a table as it stands in the file: every float with as many digits as give it back exactly.

    Raises:
        ResultsError: a column is missing, a run's steps do not increase, or its rows are apart.
    """
    if missing := [c for c in form.columns if c not in table.columns]:
        raise ResultsError(f"column {missing[0]} is missing from the table")
    if table.empty:
        raise ResultsError("the table has no rows")
    if form.of_runs:
        _require_runs(table)
    order = [*form.columns, *(c for c in table.columns if c not in form.columns)]
    table = table[order].astype(dict.fromkeys(form.counts, "Int64"))
    return bytes(table.to_csv(index=False, lineterminator="\n").encode())


def _require_runs(table: pd.DataFrame) -> None:
    runs, steps = table["run"].to_numpy(), table["step"].to_numpy()
    same_run = runs[1:] == runs[:-1]
    if not (np.diff(steps)[same_run] > 0).all():
        raise ResultsError("the steps of a run must increase from row to row")
    if table["run"].nunique() != 1 + int((~same_run).sum()):
        raise ResultsError("the rows of one run must follow each other")


def parse(content: bytes, form: Form = RUNS) -> pd.DataFrame:
    """Return the table in the bytes of a results file: whole numbers as int64, other numbers as float64.

    Raises:
        ResultsError: it is not such a table; the message says why, without the name of the file.
    """
    text = dict.fromkeys(form.text, str)
    try:
        # keep_default_na=False: a group or run may be called "null"; an empty number is NaN.
        table = pd.read_csv(BytesIO(content), dtype=text, keep_default_na=False, na_values="")
    except ValueError as error:
        raise ResultsError("it is not a table") from error
    if missing := [c for c in form.columns if c not in table.columns]:
        raise ResultsError(f"column {missing[0]} is missing")
    numbers = [c for c in table.columns if c not in form.text]
    try:
        return table.astype({c: "int64" if c in form.whole else "float64" for c in numbers})
    except ValueError as error:
        raise ResultsError("a number is not a number") from error


def require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that a table has rows and the columns that somebody needs.

    Raises:
        ValueError: it has not.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"the results table lacks the column {missing[0]!r}: re-run the sweep that wrote it")
    if table.empty:
        raise ValueError("the results table has no rows: re-run the sweep that wrote it")


def _files(name: str, root: Path, scale: str | None) -> tuple[Path, Path]:
    if not _NAME.fullmatch(name):
        raise ResultsError(f"results name {name!r}: use letters, digits, - and _ only")
    folder = paths.results(root, scale)
    return folder / f"{name}.csv", folder / f"{name}.json"


def _damaged(name: str, path: Path, reason: str) -> ResultsError:
    return ResultsError(f"{paths.shown(path)} is damaged: {reason}; run `dvc repro {stage(name)}`")


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(f"{paths.shown(path)} is missing: run `dvc repro {stage(name)}`") from None
    except OSError as error:
        raise ResultsError(f"{paths.shown(path)} cannot be read: {error.strerror}") from error
