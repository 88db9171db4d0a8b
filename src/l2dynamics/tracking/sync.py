"""Stage ``track``: bring the store to what the results files say; idempotent, safe to kill."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from l2dynamics import paths
from l2dynamics.results import tables
from l2dynamics.results.tables import Results, ResultsError
from l2dynamics.tracking import address, catalog, records
from l2dynamics.tracking.catalog import Experiment
from l2dynamics.tracking.records import Record
from l2dynamics.tracking.settled import Wanted, settled
from l2dynamics.tracking.store import KEY, PARENT, SWEEP, Store

_TOGETHER = 32
"""Runs written in one transaction; a sync that is killed has those of one to log again."""


@dataclass
class Synced:
    """What a sync did.

    Attributes:
        kept: runs that were complete already.
        written: runs logged anew.
        removed: runs deleted: doubled, unfinished, or no longer in the results.
        digests: key and digest of every run that the store now holds.
        damaged: one line for every results file that could not be read.
    """

    kept: int = 0
    written: int = 0
    removed: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    def receipt(self) -> dict[str, str]:
        """Content of the stage's output: the same on every machine that synced the same results."""
        content = json.dumps(self.digests, sort_keys=True).encode()
        return {"synced_sha256": hashlib.sha256(content).hexdigest()}


def sync(root: Path, names: Sequence[str] | None = None, uri: str | None = None) -> Synced:
    """Log to MLflow whatever of the results, theory and report is not there yet.

    Args:
        root: the checkout.
        names: names of results; None for all, with theory and report.
        uri: the store; None for ``$MLFLOW_TRACKING_URI`` or the SQLite store of the checkout.

    Raises:
        TrackingError: the store cannot be used. What was logged before stays and is not logged again.
    """
    done = Synced()
    sweeps: list[_Sweep] = []
    files: list[_Files] = []
    for name in names if names is not None else tables.names(root):
        try:
            sweeps.append(_Sweep.of(tables.load(name, root)))
        except ResultsError as error:
            done.damaged.append(str(error))
    if names is None:
        found = [
            _files(root, catalog.THEORY, "theory", _theory_files(root), done),
            _files(root, catalog.REPORT, f"report/{_scale(root)}", _report_files(root), done),
        ]
        files = [group for group in found if group is not None]
    wanted = [one for sweep in sweeps for one in sweep.wanted()] + [
        one for group in files for one in group.wanted()
    ]
    done.digests = {one.record.key: one.record.digest for one in wanted}

    uri = uri or address.tracking_uri(root)
    database = address.database(uri)
    if database is not None and settled(database, wanted):
        done.kept = len(wanted)
        return done
    store = Store(uri, root)
    with store.locked():
        for sweep in sweeps:
            _sync_sweep(store, sweep, done)
        for group in files:
            _sync_files(store, group, done)
    return done


class _Sweep(NamedTuple):
    """A sweep as it shall stand in the store: a parent run and one run below it per training run."""

    results: Results
    experiment: Experiment
    parent: Record
    runs: list[Record]

    @classmethod
    def of(cls, results: Results) -> "_Sweep":
        name = results.name
        parent = records.of_sweep(name, results.passport)
        return cls(results, catalog.experiment(name), parent, records.of_results(results))

    def wanted(self) -> list[Wanted]:
        """All runs; no other may stand under the key of the parent."""
        key = self.parent.key
        children = [Wanted(self.experiment, run, key, family=key) for run in self.runs]
        return [Wanted(self.experiment, self.parent, family=key), *children]


class _Files(NamedTuple):
    """Files that are logged as one run: the numbers in the JSON files as metrics, all of them as artifacts."""

    experiment: Experiment
    record: Record
    numbers: dict[str, Any]
    listed: list[tuple[str, Path]]

    def wanted(self) -> list[Wanted]:
        """The one run."""
        return [Wanted(self.experiment, self.record)]


def _sync_sweep(store: Store, sweep: _Sweep, done: Synced) -> None:
    """Bring one sweep's parent run and its children to the results; the caller holds the store's lock."""
    results, passport = sweep.results, sweep.results.passport
    experiment = store.experiment(sweep.experiment)
    present = store.find(experiment, SWEEP, sweep.parent.key)
    parents = present.pop(sweep.parent.key, [])
    parent, doomed = _choose(store, parents, sweep.parent)
    if parent is None:
        parent = store.create(experiment, sweep.parent)

    todo: list[Record] = []
    for record in sweep.runs:
        child, others = _choose(store, present.pop(record.key, []), record, or_untouched=False)
        doomed += others
        if child is None:
            todo.append(record)
        else:
            done.kept += 1
            if child.data.tags.get(PARENT) != parent.info.run_id:
                store.tag(child, PARENT, parent.info.run_id)
    doomed += [run for runs in present.values() for run in runs]
    store.delete(doomed)
    done.removed += len(doomed)

    numbers = records.outcomes(todo, int(passport.get("classes") or 10))
    for some in (todo[first : first + _TOGETHER] for first in range(0, len(todo), _TOGETHER)):
        with store.together():
            for record in some:
                run = store.create(experiment, record, parent.info.run_id)
                store.dataset(run, passport.get("data") or {})
                store.finish(run, records.curves(record) + numbers[record.key], record.params, record)
        done.written += len(some)

    if store.complete(parent, sweep.parent.digest):
        done.kept += 1
    else:
        store.dataset(parent, passport.get("data") or {})
        store.artifact(parent, paths.results(store.root) / f"{results.name}.json")
        store.finish(parent, records.sweep_numbers(results), sweep.parent.params, sweep.parent)
        done.written += 1


def _choose(
    store: Store, runs: Iterable[Any], record: Record, *, or_untouched: bool = True
) -> tuple[Any | None, list[Any]]:
    """Split the runs of one key into the one to keep and the ones to delete.

    A parent that a live stage has begun holds nothing but tags: with ``or_untouched`` it is kept and filled.
    """
    runs = list(runs)
    keep = next((r for r in runs if store.complete(r, record.digest)), None)
    if keep is None and or_untouched:
        keep = next((r for r in runs if not r.data.params and not r.data.metrics), None)
    return keep, [r for r in runs if r is not keep]


def _files(
    root: Path, experiment: Experiment, key: str, files: dict[str, list[Path]], done: Synced
) -> _Files | None:
    """Read the files that are logged as one run; None if there are none. Damaged ones are noted in ``done``."""
    listed = [(place, file, file.read_bytes()) for place, group in files.items() for file in sorted(group)]
    if not listed:
        return None
    digest = hashlib.sha256(repr([records.FORMAT, key]).encode())
    numbers: dict[str, Any] = {}
    for place, file, content in listed:
        digest.update(repr([place, file.name, len(content)]).encode() + content)
        if file.suffix == ".json":
            try:
                found = json.loads(content)
            except ValueError:
                done.damaged.append(f"{file.relative_to(root)} is damaged: it is not JSON")
                continue
            prefix = f"{file.stem}/" if place == "claims" else ""
            numbers |= (
                {f"{prefix}{k}": v for k, v in records.flat(found).items()} if isinstance(found, dict) else {}
            )
    tags = {"l2dynamics.kind": experiment.setup, "setup": experiment.setup, "dvc.stage": experiment.setup}
    tags |= {"scale": _scale(root), "mlflow.source.name": f"dvc repro {experiment.setup}"}
    record = Record(key, key.replace("/", " · "), {}, tags, digest.hexdigest())
    return _Files(experiment, record, numbers, [(place, file) for place, file, _ in listed])


def _sync_files(store: Store, files: _Files, done: Synced) -> None:
    """Log files as one run, unless it is there."""
    experiment_id = store.experiment(files.experiment)
    present = store.find(experiment_id, KEY, files.record.key).get(files.record.key, [])
    keep, doomed = _choose(store, present, files.record, or_untouched=False)
    store.delete(doomed)
    done.removed += len(doomed)
    if keep is not None:
        done.kept += 1
        return
    run = store.create(experiment_id, files.record)
    for place, file in files.listed:
        store.artifact(run, file, place or None)
    store.finish(run, records.numbers(files.numbers), {}, files.record)
    done.written += 1


def _theory_files(root: Path) -> dict[str, list[Path]]:
    folder = paths.results(root)
    return {"": list(folder.glob("theory.*")), "theory": list((folder / "theory").glob("*.csv"))}


def _report_files(root: Path) -> dict[str, list[Path]]:
    report = paths.figures(root).parent
    return {
        "": [file for file in (report / "index.html", report / "README.md") if file.is_file()],
        "figures": list(paths.figures(root).glob("*.png")),
        "claims": list(paths.claims(root).glob("*.json")),
    }


def _scale(root: Path) -> str:
    """The scale of the results, as their passports say; several are joined."""
    scales = set()
    for name in tables.names(root):
        try:
            scales.add(str(tables.load_passport(name, root).get("scale", "")))
        except ResultsError:
            continue
    return "+".join(sorted(scales))
