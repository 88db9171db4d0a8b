"""All claims on training judged on the results, and the files they are written to: one flat record each."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from l2dynamics import paths
from l2dynamics.claims import (
    accuracies,
    adaptive,
    beyond,
    budgets,
    coefficients,
    exceptions,
    mse,
    regimes,
    times,
    weights,
)
from l2dynamics.claims.base import FIELDS
from l2dynamics.results import tables
from l2dynamics.results.tables import Results
from l2dynamics.storage import atomic

MODULES = (times, accuracies, budgets, coefficients, adaptive, mse, exceptions, beyond, weights)

RESULTS: tuple[str, ...] = tuple(dict.fromkeys(name for module in MODULES for name in module.RESULTS))
"""Names of the results that the claims on training read."""

CRITERIA = "criteria.json"
REGIMES = "regimes.json"
"""Which setups may judge, see :func:`l2dynamics.claims.regimes.table`; beside the folder of the claims."""
TEXTS = ("reason", "power", "exceptions", "regime", "kind", "data")
"""Fields that `dvc metrics show` has no room for: with the whole text of the claim they stand in :data:`CRITERIA`."""
METRICS = tuple(field for field in FIELDS if field not in TEXTS)
"""Fields of a claim's own file."""


def evaluate(results: Mapping[str, Results]) -> dict[str, dict[str, Any]]:
    """Judge all claims on training.

    Args:
        results: name → results, all of :data:`RESULTS`.

    Returns:
        Id → flat record with the keys :data:`FIELDS`, in the order of :func:`order`.

    Raises:
        ValueError: results are missing; the message names the stage that makes them.
    """
    for name in RESULTS:
        if name not in results:
            raise ValueError(f"results of {name} are missing: run `dvc repro {tables.stage(name)}`")
    study = regimes.Study(results)
    found = [claim for module in MODULES for claim in module.evaluate(study)]
    records = {claim.id: claim.record() for claim in found}
    if len(records) != len(found):
        raise ValueError("two claims have one id")
    return {id: records[id] for id in sorted(records, key=order)}


def write_regimes(results: Mapping[str, Results], folder: Path) -> Path:
    """Write ``regimes.json`` beside the folder of the claims, atomically."""
    path = folder.with_name(REGIMES)
    atomic.replace(path, atomic.json_bytes(atomic.plain({"setups": regimes.table(results)})))
    return path


def read_regimes(folder: Path) -> list[dict[str, Any]]:
    """Read what :func:`write_regimes` wrote.

    Raises:
        ValueError: it is missing or damaged.
    """
    path = folder.with_name(REGIMES)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["setups"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{paths.shown(path)} is missing or damaged: run `dvc repro claims`") from error
    return list(found)


def order(id: str) -> tuple[int, float, int, str]:
    """Sort key of claim ids: the paper's, ours on it (c), beyond it (x), by number, a whole before its parts."""
    head, _, tail = id.partition("-")
    digits = head.lstrip("cx")
    number = float(digits) if digits.isdigit() else math.inf
    return ("cx".find(head[:1]) + 1, number, int(bool(tail)), _padded(tail))


def write(records: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write one JSON file per claim, each atomically, and remove the files of claims that are no longer made.

    The files are the rows of ``dvc metrics show``, so they hold :data:`METRICS` and the first sentence of a claim; the
    whole text, with the criterion and how to read the numbers, and the other :data:`TEXTS` stand in ``criteria.json``
    beside the folder.

    Args:
        records: id → record with the keys :data:`FIELDS`.
        folder: ``reports/claims``; created if missing.

    Raises:
        ValueError: a record has other keys, or an id is no file name.
        OSError: a file cannot be written.
    """
    for id, record in records.items():
        if set(record) != set(FIELDS):
            odd = sorted(set(record) ^ set(FIELDS))[0]
            raise ValueError(
                f"claim {id}: the keys must be {', '.join(FIELDS)}; {odd!r} is missing or too much"
            )
        if not id or not all(letter.isalnum() or letter in "-_." for letter in id):
            raise ValueError(f"claim id {id!r}: use letters, digits, - _ and . only")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for id, record in records.items():
        path = folder / f"{id}.json"
        flat = {field: record[field] for field in METRICS} | {"claim": short(record["claim"])}
        atomic.replace(path, atomic.json_bytes(atomic.plain(flat)))
        written.append(path)
    texts = {id: {field: record[field] for field in ("claim", *TEXTS)} for id, record in records.items()}
    atomic.replace(folder.with_name(CRITERIA), atomic.json_bytes(texts))
    for stale in set(folder.glob("*.json")) - set(written):
        stale.unlink()
    return written


def short(claim: str) -> str:
    """Return the first sentence of a claim: what `dvc metrics show` has room for."""
    return claim.partition(". ")[0].rstrip(".")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what :func:`write` wrote, ``claim`` with its whole text, in the order of :func:`order`.

    Raises:
        ValueError: there are no claims, or one is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in _json_files(folder):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{paths.shown(path)} is not JSON: run `dvc repro claims`") from error
        if not isinstance(record, dict) or set(record) != set(METRICS):
            raise ValueError(f"{paths.shown(path)} has other keys: run `dvc repro claims`")
        found[path.stem] = record
    if not found:
        raise ValueError(f"{paths.shown(folder)} has no claims: run `dvc repro claims`")
    try:
        texts = json.loads(folder.with_name(CRITERIA).read_text(encoding="utf-8"))
        found = {
            id: {field: {**record, **texts[id]}[field] for field in FIELDS} for id, record in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{paths.shown(folder.with_name(CRITERIA))} is missing or damaged: run `dvc repro claims`"
        ) from error
    return {id: found[id] for id in sorted(found, key=order)}


def _json_files(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _padded(tail: str) -> str:
    """Make budgets sort as numbers: T5 before T10."""
    return f"T{float(tail[1:]):020.6f}" if tail[:1] == "T" and tail[1:].replace(".", "").isdigit() else tail
