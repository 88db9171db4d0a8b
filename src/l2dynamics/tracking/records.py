"""From results to what MLflow shall show: keys, titles, params, tags, curves. Nothing here knows MLflow.

A record is the same whether it was built from the rows a trainer has just made or from the results files: its
digest decides whether a run in the store is complete.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics.results import tables
from l2dynamics.results.tables import Results
from l2dynamics.storage import atomic
from l2dynamics.tracking import catalog

#: Raise it when what is logged changes: every run is then logged anew.
FORMAT = 2
#: MLflow's x-axis is an integer: ``by_eta_lambda/…`` counts t·η·λ (t in epochs) in millionths.
ETA_LAMBDA_UNIT = 1e6
BY_ETA_LAMBDA = ("test_accuracy", "train_loss")
#: The part of a passport that is known before training and belongs to every run.
HEADER = ("scale", "data", "setup", "steps_per_epoch", "classes", "git_commit", "key")

Point = tuple[str, float, int]


@dataclass(frozen=True)
class Record:
    """One run of the store, ready to be logged.

    Attributes:
        key: unique name in the store: sweep / scale / run.
        title: name in the UI.
        params: constant settings.
        tags: what one filters by.
        digest: SHA-256 of all of it.
        rows: the evaluations of a training run, columns as in the results file; no rows for any other.
    """

    key: str
    title: str
    params: dict[str, str]
    tags: dict[str, str]
    digest: str
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)


def sweep_key(name: str, header: Mapping[str, Any]) -> str:
    """Key of a sweep's parent run, and the start of its children's keys."""
    return f"{_quoteless(name)}/{_quoteless(str(header.get('scale', '')))}"


def of_sweep(name: str, header: Mapping[str, Any]) -> Record:
    """Make the record of the parent run of a sweep from its passport, or from as much of it as is known."""
    data = header.get("data") or {}
    done = f"{header['runs']} runs, {header.get('diverged', 0)} diverged, " if "runs" in header else ""
    note = (
        f"`dvc repro {tables.stage(name)}` at scale `{header.get('scale')}`: {done}{data.get('name')} "
        f"({data.get('source')}, {data.get('train')} training images). {catalog.experiment(name).text}"
    )
    tags = common_tags(name, header, "sweep") | {"mlflow.note.content": note}
    tags |= {k: str(header[k]) for k in ("device", "cores", "xla_flags") if k in header}
    tags |= {f"version.{k}": str(v) for k, v in (header.get("versions") or {}).items()}
    config = {k: v for k, v in (header.get("config") or {}).items() if k != "setup"}
    params = common_params(header) | {k: str(v) for k, v in flat({"config": config}).items()}
    key = sweep_key(name, header)
    content = json.dumps([FORMAT, key, params, tags, atomic.plain(header)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Record(key, f"{name} · {header.get('scale')}", params, tags, digest)


def sweep_numbers(results: Results) -> list[Point]:
    """Return what the columns of a parent run show: counts, times, the best accuracy, the measured c."""
    keys = ("runs", "diverged", "wall_seconds", "pure_step_seconds", "steps_per_epoch", "c")
    found = flat({k: results.passport[k] for k in keys if k in results.passport})
    found["best/test_accuracy"] = float(results.table["test_accuracy"].max())
    return numbers(found)


def numbers(found: Mapping[str, Any]) -> list[Point]:
    """Return the finite numbers of a flat mapping as points at x = 0, under names that MLflow accepts."""
    return [
        (re.sub(r"[^\w\-. /:]", "_", k, flags=re.ASCII), float(v), 0)
        for k, v in found.items()
        if isinstance(v, int | float) and math.isfinite(v)
    ]


def of_results(results: Results) -> list[Record]:
    """Split the results of a sweep into one record per run, in the order of the file."""
    return of_rows(results.name, results.passport, results.table)


def of_rows(name: str, header: Mapping[str, Any], table: pd.DataFrame) -> list[Record]:
    """Make one record per run.

    Args:
        name: name of the results the runs belong to.
        header: the passport, or as much of it as is known before training (:data:`HEADER`).
        table: their evaluations, run by run, as :func:`l2dynamics.results.tables.load` returns them.
    """
    runs = table["run"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], runs[1:] != runs[:-1]]))
    ends = np.append(starts[1:], len(runs))
    values = table[["step", "epoch", "l2", *tables.METRICS]].to_numpy(float)
    sweep, shared, tags = sweep_key(name, header), common_params(header), common_tags(name, header)
    extra = [c for c in table.columns if c not in tables.COLUMNS]
    found = []
    for first, start, end in zip(table.iloc[starts].to_dict("records"), starts, ends, strict=True):
        params = {c: number(first[c]) for c in ("eta", "l2", "seed", "sigma_w", "budget")}
        params |= {k: v for k, v in shared.items() if k not in params} | {c: str(first[c]) for c in extra}
        finite = bool(np.isfinite(values[start:end]).all())
        tagged = {**tags, "group": str(first["group"]), "diverged": "false" if finite else "true"}
        key = f"{sweep}/{_quoteless(str(first['run']))}"
        head = json.dumps([FORMAT, analysis_digest(), key, params, tagged], sort_keys=True)
        digest = hashlib.sha256(head.encode() + values[start:end].tobytes()).hexdigest()
        found.append(Record(key, title(name, first), params, tagged, digest, table.iloc[start:end]))
    return found


def title(name: str, first: Mapping[Any, Any]) -> str:
    """Name of a run in the UI, e.g. ``η=0.15 λ=1e-3 seed=0``; what the sweep varies besides is added."""
    group = str(first["group"])
    words = [] if group in {"grid", "constant"} else [group]
    if group.startswith("auto_"):
        words = [group.replace("auto_", "AutoL2 ")]
    words += [
        f"η={number(first['eta'])}",
        f"{'λ₀' if group.startswith('auto_') else 'λ'}={number(first['l2'])}",
    ]
    if name == "wrn_sigma":
        words.append(f"σw={float(first['sigma_w']):.4g}")
    if group not in {"grid", "constant"}:
        words.append(f"T={float(first['budget']):.5g}")
    return " ".join([*words, f"seed={int(first['seed'])}"])


def number(value: Any) -> str:
    """Return a number as one types it: 0.15, 1e-3, 1.5625e-5, 0."""
    value = float(value)
    if value == 0 or not math.isfinite(value) or 1e-2 <= abs(value) < 1e6:
        return str(int(value)) if value.is_integer() else repr(value)
    mantissa, exponent = f"{value:.12e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def common_params(header: Mapping[str, Any]) -> dict[str, str]:
    """Settings shared by all runs of a sweep, nested ones joined by dots."""
    data = header.get("data") or {}
    params = {"scale": header.get("scale"), "steps_per_epoch": header.get("steps_per_epoch")}
    params |= flat({**(header.get("setup") or {}), "data": data})
    return {k: str(v) for k, v in params.items() if v is not None}


def common_tags(name: str, header: Mapping[str, Any], kind: str = "run") -> dict[str, str]:
    """Tags of a parent and of its children."""
    stage = tables.stage(name)
    return {
        "l2dynamics.kind": kind,
        "l2dynamics.sweep": sweep_key(name, header),
        "l2dynamics.experiments.schema": str(header.get("key", "")),
        "results": name,
        "setup": catalog.experiment(name).setup,
        "scale": str(header.get("scale", "")),
        "dvc.stage": stage,
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": str(header.get("git_commit", "")),
    }


def curves(record: Record, first_row: int = 0) -> list[Point]:
    """Return the points of all curves of a run: (metric, value, x).

    x is the update step, in ``by_eta_lambda/…`` 10⁶·t·η·λ. Runs with λ = 0 or varying λ have none.

    Args:
        record: the run.
        first_row: leave out the rows before; a run logged in pieces gets the same points in all.
    """
    rows = record.rows
    step, epoch = rows["step"].to_numpy(), rows["epoch"].to_numpy(float)
    eta, l2 = float(rows["eta"].iloc[0]), rows["l2"].to_numpy(float)
    columns = {m: rows[m].to_numpy(float) for m in tables.METRICS}
    points: list[Point] = []
    if record.tags["group"].startswith("auto_"):
        columns["l2"] = l2
    elif l2[0] > 0:
        u = epoch * eta * l2[0]
        columns["axis/t_eta_lambda"] = u
        x = np.rint(u * ETA_LAMBDA_UNIT).astype(np.int64)
        new = np.insert(x[1:] != x[:-1], 0, True)
        new[:first_row] = False
        for metric in BY_ETA_LAMBDA:
            points += _points(f"by_eta_lambda/{metric}", columns[metric][new], x[new])
    if record.params.get("steps_per_epoch") != "1":
        columns["axis/epoch"] = epoch
    for metric, values in columns.items():
        points += _points(metric, values[first_row:], step[first_row:])
    return points


def outcomes(records: Sequence[Record], classes: int) -> dict[str, list[Point]]:
    """Return the single numbers of every run, by key: best, final, t*, as far as they exist."""
    if not records:
        return {}
    from l2dynamics.analysis import (
        per_run,  # scipy: half a second that a sync with nothing to do need not pay
    )

    table = pd.concat([r.rows.assign(run=r.key) for r in records], ignore_index=True)
    summary = per_run.summarize(table, chance=1 / classes).set_index("run")
    found: dict[str, list[Point]] = {}
    for record in records:
        row: Any = summary.loc[record.key]
        last: Any = record.rows.iloc[-1]
        values = {
            "best/test_accuracy": row["max_test_accuracy"],
            "best/train_loss": row["min_train_loss"],
            "best/train_loss_epoch": row["argmin_train_loss_epoch"],
            "t_star/epochs": row["t_star"],
            "t_star/steps": row["t_star_step"],
            "t_star/eta_lambda": row["t_star"] * row["eta"] * row["l2"],
            "t_star/peaked": float(row["peaked"]),
            "train1/epoch": row["train1_epoch"],
            "train1/test_accuracy": row["test_accuracy_at_train1"],
        } | {f"final/{m}": last[m] for m in tables.METRICS}
        if record.rows["l2"].nunique() > 1 or not row["l2"]:
            del values["t_star/eta_lambda"]
        found[record.key] = [(k, float(v), 0) for k, v in values.items() if pd.notna(v)]
    return found


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level, keys joined by dots."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


@cache
def analysis_digest() -> str:
    """SHA-256 of the code that makes best/…, final/… and t*: an edit there logs the runs anew."""
    digest = hashlib.sha256()
    for module in ("analysis", "prediction"):
        spec = find_spec(f"l2dynamics.{module}")
        if spec is not None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()


def _points(metric: str, values: np.ndarray, x: np.ndarray) -> list[Point]:
    # MLflow turns an infinity into 1.8e308, which ruins the chart.
    finite = np.where(np.isfinite(values), values, np.nan)
    return [(metric, float(v), int(i)) for v, i in zip(finite, x, strict=True)]


def _quoteless(text: str) -> str:
    # Keys stand between quotes in MLflow's filters, which know no escape.
    return "".join("_" if c in "'\"`\\" else c for c in text)
