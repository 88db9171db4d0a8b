"""From results to what MLflow shall show: keys, titles, params, tags, curves. Nothing here knows MLflow.

A record is the same whether it was built from the rows a trainer has just made or from the results files: its
digest decides whether a run in the store is complete.
"""

import hashlib
import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics import peaks
from l2dynamics.analysis import blocks, per_run
from l2dynamics.analysis.blocks import HALF_A, HALF_B, first_best
from l2dynamics.results import tables
from l2dynamics.results.columns import LOG_NORM
from l2dynamics.results.tables import Results
from l2dynamics.storage import atomic
from l2dynamics.tracking import catalog

#: Raise it when what is logged changes: every run is then logged anew.
FORMAT = 3
#: An edit of the code that makes best/…, final/… and t* logs the runs anew, too.
_CODE = hashlib.sha256("".join(map(inspect.getsource, (per_run, peaks, blocks))).encode()).hexdigest()
#: MLflow's x-axis is an integer: ``by_eta_lambda/…`` counts t·η·λ (t in epochs) in millionths.
ETA_LAMBDA_UNIT = 1e6
BY_ETA_LAMBDA = ("test_accuracy", "train_loss")
#: The part of a passport that is known before training and belongs to every run.
HEADER = ("scale", "data", "setup", "steps_per_epoch", "classes", "git_commit", "key")
SWEEP = "l2dynamics.sweep"

Point = tuple[str, float, int]


@dataclass(frozen=True)
class Record:
    """One run of the store, ready to be logged.

    Its key is its unique name in the store, sweep / scale / run; its digest the SHA-256 of all of it; its header the
    passport that it belongs to, as far as it is known. A training run has rows, its evaluations as in the results
    file; any other has numbers.
    """

    key: str
    title: str
    params: dict[str, str]
    tags: dict[str, str]
    digest: str
    header: Mapping[str, Any] = field(default_factory=dict)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    numbers: Sequence[Point] = ()


def of_sweep(name: str, header: Mapping[str, Any]) -> Record:
    """Make the record of the parent run of a sweep from its passport, or from as much of it as is known."""
    data, tags = header.get("data") or {}, common_tags(name, header, "sweep")
    done = f"{header['runs']} runs, {header.get('diverged', 0)} diverged, " if "runs" in header else ""
    tags["mlflow.note.content"] = (
        f"`dvc repro {tables.stage(name)}` at scale `{header.get('scale')}`: {done}{data.get('name')} "
        f"({data.get('source')}, {data.get('train')} training images). {catalog.experiment(name).text}"
    )
    tags |= {k: str(header[k]) for k in ("device", "cores", "xla_flags") if k in header}
    tags |= {f"version.{k}": str(v) for k, v in (header.get("versions") or {}).items()}
    config = {k: v for k, v in (header.get("config") or {}).items() if k != "setup"}
    params = common_params(header) | {k: str(v) for k, v in flat({"config": config}).items()}
    content = json.dumps([FORMAT, tags[SWEEP], params, tags, atomic.plain(header)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Record(tags[SWEEP], f"{name} · {header.get('scale')}", params, tags, digest, header)


def of_results(results: Results) -> list[Record]:
    """Make the record of a sweep, then those of its runs; it shows counts, times, the best accuracy, the measured c."""
    name, passport, table = results.name, results.passport, results.table
    keys = ("runs", "diverged", "wall_seconds", "pure_step_seconds", "steps_per_epoch", "c")
    shown = flat({k: passport[k] for k in keys if k in passport})
    shown["best/test_accuracy"] = float(table["test_accuracy"].max())
    return [replace(of_sweep(name, passport), numbers=numbers(shown)), *of_rows(name, passport, table)]


def numbers(found: Mapping[str, Any]) -> list[Point]:
    """Return the finite numbers of a flat mapping as points at x = 0, under names that MLflow accepts."""
    return [
        (re.sub(r"[^\w\-. /:]", "_", k, flags=re.ASCII), float(v), 0)
        for k, v in found.items()
        if isinstance(v, int | float) and math.isfinite(v)
    ]


def of_rows(name: str, header: Mapping[str, Any], table: pd.DataFrame) -> list[Record]:
    """Make one record per run from a table as :func:`l2dynamics.results.tables.load` returns it."""
    shared, tags, table = common_params(header), common_tags(name, header), table.reset_index(drop=True)
    extra = [c for c in ("setup",) if c in table]
    numeric = table[["step", "epoch", "l2", *tables.METRICS, *_norms(table)]].to_numpy(float)
    found = []
    for run, rows in table.groupby("run", sort=False):
        first: Any = rows.iloc[0]
        params = {c: number(first[c]) for c in ("eta", "l2", "seed", "sigma_w", "budget")}
        params = shared | params | {c: str(first[c]) for c in extra}
        values = numeric[rows.index]
        tagged = tags | {"group": str(first["group"]), "diverged": str(not np.isfinite(values).all()).lower()}
        key = f"{tags[SWEEP]}/{_quoteless(str(run))}"
        head = json.dumps([FORMAT, _CODE, key, params, tagged], sort_keys=True)
        digest = hashlib.sha256(head.encode() + values.tobytes()).hexdigest()
        found.append(Record(key, title(name, first), params, tagged, digest, header, rows))
    return found


def title(name: str, first: Mapping[Any, Any]) -> str:
    """Name of a run in the UI, e.g. ``η=0.15 λ=1e-3 seed=0``; what the sweep varies besides is added."""
    group = str(first["group"])
    plain, auto = group in {"grid", "constant"}, group.startswith("auto_")
    words = [] if plain else [group.replace("auto_", "AutoL2 ")]
    words += [f"η={number(first['eta'])}", f"{'λ₀' if auto else 'λ'}={number(first['l2'])}"]
    if name == "wrn_sigma":
        words.append(f"σw={float(first['sigma_w']):.4g}")
    if not plain:
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
    params = {"scale": header.get("scale"), "steps_per_epoch": header.get("steps_per_epoch")}
    params |= flat({**(header.get("setup") or {}), "data": header.get("data") or {}})
    return {k: str(v) for k, v in params.items() if v is not None}


def common_tags(name: str, header: Mapping[str, Any], kind: str = "run") -> dict[str, str]:
    """Tags of a parent and of its children."""
    stage = tables.stage(name)
    return {
        "l2dynamics.kind": kind,
        SWEEP: _quoteless(f"{name}/{header.get('scale', '')}"),  # the key of the parent
        "l2dynamics.config": str(header.get("key", "")),
        "results": name,
        "setup": catalog.experiment(name).setup,
        "scale": str(header.get("scale", "")),
        "dvc.stage": stage,
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": str(header.get("git_commit", "")),
    }


def _norms(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows.columns if name.startswith(LOG_NORM)]


def points(record: Record, *, finished: bool) -> list[Point]:
    """Return everything that a run shows; the outcome of a training run only if it is finished."""
    trained = [] if record.rows.empty else curves(record) + (outcome(record) if finished else [])
    return [*record.numbers, *trained]


def curves(record: Record) -> list[Point]:
    """Return the points of all curves: x is the step, in ``by_eta_lambda/…`` (none if λ = 0 or varies) 10⁶·t·η·λ."""
    rows = record.rows
    step, epoch, l2 = rows["step"].to_numpy(), rows["epoch"].to_numpy(float), rows["l2"].to_numpy(float)
    columns = {metric: rows[metric].to_numpy(float) for metric in (*tables.METRICS, *_norms(rows))}
    found: list[Point] = []
    if record.tags["group"].startswith("auto_"):
        columns["l2"] = l2
    elif l2[0] > 0:
        columns["axis/t_eta_lambda"] = u = epoch * float(rows["eta"].iloc[0]) * l2[0]
        x = np.rint(u * ETA_LAMBDA_UNIT).astype(np.int64)
        new = np.insert(x[1:] != x[:-1], 0, True)
        for metric in BY_ETA_LAMBDA:
            found += _points(f"by_eta_lambda/{metric}", columns[metric][new], x[new])
    if record.params.get("steps_per_epoch") != "1":
        columns["axis/epoch"] = epoch
    return found + [point for metric in columns for point in _points(metric, columns[metric], step)]


def outcome(record: Record) -> list[Point]:
    """Return the single numbers of a run, best, final and t*, as far as they exist."""
    rows = record.rows
    row: Any = per_run.summarize(rows, chance=1 / int(record.header.get("classes") or 10)).iloc[0]
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
    } | {f"final/{metric}": rows[metric].iloc[-1] for metric in tables.METRICS}
    values |= halves(rows, _test_images(record))
    if rows["l2"].nunique() > 1 or not row["l2"]:
        del values["t_star/eta_lambda"]
    return [(k, float(v), 0) for k, v in values.items() if pd.notna(v)]


def _test_images(record: Record) -> int:
    data = record.header.get("datasets", {}).get(record.params.get("setup")) or record.header["data"]
    return int(data["test"])


def halves(rows: pd.DataFrame, images: int) -> dict[str, float]:
    """Accuracy on each half of the test images where that of the other is highest: free of the luck of the choice.

    Args:
        rows: evaluations of one run.
        images: of the test set.
    """
    known = rows.dropna(subset=list(tables.BLOCKS))
    if known.empty:
        return {}
    curves = blocks.from_table(known, tables.block_sizes(images))
    (a,), (b,) = curves.accuracy(HALF_A), curves.accuracy(HALF_B)
    return {
        "best/test_accuracy_half_a": float(a[first_best(b)]),
        "best/test_accuracy_half_b": float(b[first_best(a)]),
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level, keys joined by dots."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


def _points(metric: str, values: np.ndarray, x: np.ndarray) -> list[Point]:
    # MLflow turns an infinity into 1.8e308, which ruins the chart.
    finite = np.where(np.isfinite(values), values, np.nan)
    return [(metric, float(v), int(i)) for v, i in zip(finite, x, strict=True)]


def _quoteless(text: str) -> str:
    # Keys stand between quotes in MLflow's filters, which know no escape.
    return re.sub(r"['\"`\\]", "_", text)
