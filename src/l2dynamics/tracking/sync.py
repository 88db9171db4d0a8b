"""Stage ``track``: bring the store to what the results files say; idempotent, safe to kill."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l2dynamics import paths
from l2dynamics.results import tables
from l2dynamics.results.tables import ResultsError
from l2dynamics.tracking import catalog, records
from l2dynamics.tracking.catalog import Experiment
from l2dynamics.tracking.records import SWEEP, Record
from l2dynamics.tracking.store import KEY, PARENT, Store


@dataclass
class Synced:
    """Numbers of runs that were complete, logged anew, and deleted: doubled, unfinished, or not in the results.

    ``digests`` has those of all runs that the store now holds by key, ``damaged`` a line for every unreadable file.
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


@dataclass(frozen=True)
class _Family:
    """A parent run with its files, and its children: no other run shall stand under the parent's key."""

    experiment: Experiment
    files: Sequence[tuple[str, Path]]
    parent: Record
    children: Sequence[Record] = ()


def sync(root: Path, names: Sequence[str] | None = None, uri: str | None = None) -> Synced:
    """Log to MLflow what is not there yet: results ``names`` of the scale in force; None: all that every scale has.

    Raises:
        TrackingError: the store cannot be used. What was logged before stays and is not logged again.
    """
    done = Synced()
    families: list[_Family] = []
    for scale in paths.scales(root) if names is None else [paths.scale(root)]:
        folder, report = paths.results(root, scale), paths.reports(root, scale)
        for name in tables.names(root, scale) if names is None else names:
            try:
                found = records.of_results(tables.load(name, root, scale))
                files = [("", folder / f"{name}.json")]
                families.append(_Family(catalog.experiment(name), files, found[0], found[1:]))
            except ResultsError as error:
                done.damaged.append(str(error))
        if names is None:
            shown = ("index.html", "README.md", "figures/*.png", "claims/*.json")
            suffix = f"/{scale}"
            families += _files(folder, ("theory.*", "theory/*.csv"), catalog.THEORY, suffix, scale, done)
            families += _files(report, shown, catalog.REPORT, suffix, scale, done)
    done.digests = {one.key: one.digest for family in families for one in (family.parent, *family.children)}
    store = Store(root, uri)
    with store.locked():
        for family in families:
            _log(store, family, done)
    return done


def _log(store: Store, family: _Family, done: Synced) -> None:
    """Bring a family to the results; the caller holds the store's lock."""
    experiment = store.experiment(family.experiment)
    present: dict[str, list[Any]] = {}
    for run in store.find(experiment, SWEEP, family.parent.key):
        present.setdefault(run.data.tags.get(KEY, ""), []).append(run)

    def kept(record: Record) -> Any | None:
        runs = present.get(record.key, [])
        found = next((run for run in runs if store.complete(run, record)), None)
        if found:
            runs.remove(found)
            done.kept += 1
        return found

    complete = kept(family.parent)
    # A parent that a live stage has begun holds nothing but tags.
    rest = present.get(family.parent.key, [])
    begun = [run for run in rest if not (complete or run.data.params or run.data.metrics)][:1]
    present[family.parent.key] = [run for run in rest if run not in begun]
    parent = complete or (begun or [store.create(experiment, family.parent)])[0]
    for record in family.children:
        child = kept(record)
        if child is None:
            store.log(store.create(experiment, record, parent.info.run_id), record)
            done.written += 1
        elif child.data.tags.get(PARENT) != parent.info.run_id:
            store.client.set_tag(child.info.run_id, PARENT, parent.info.run_id)
    doomed = [run for runs in present.values() for run in runs]
    store.delete(doomed)
    done.removed += len(doomed)
    if complete is None:
        for place, file in family.files:
            store.artifact(parent, file, place)
        store.log(parent, family.parent)
        done.written += 1


def _files(
    folder: Path, globs: Sequence[str], experiment: Experiment, suffix: str, scale: str, done: Synced
) -> list[_Family]:
    """Files as one run, if there are any: the numbers in the JSON files as metrics, all of them as artifacts."""
    setup, key = experiment.setup, f"{experiment.setup}{suffix}"
    digest = hashlib.sha256(repr([records.FORMAT, key]).encode())
    numbers: dict[str, Any] = {}
    listed: list[tuple[str, Path]] = []
    for file in (file for glob in globs for file in sorted(folder.glob(glob))):
        place, content = "/".join(file.relative_to(folder).parts[:-1]), file.read_bytes()
        listed.append((place, file))
        digest.update(repr([place, file.name, len(content)]).encode() + content)
        try:
            found = json.loads(content) if file.suffix == ".json" else {}
        except ValueError:
            done.damaged.append(f"{folder.name}/{file.relative_to(folder)} is damaged: it is not JSON")
            continue
        if isinstance(found, dict):
            prefix = f"{file.stem}/" if place == "claims" else ""
            numbers |= {f"{prefix}{k}": v for k, v in records.flat(found).items()}
    tags = {"l2dynamics.kind": setup, SWEEP: key, "setup": setup, "dvc.stage": setup, "scale": scale}
    tags["mlflow.source.name"] = f"dvc repro {setup}"
    title, shown = key.replace("/", " · "), records.numbers(numbers)
    record = Record(key, title, {}, tags, digest.hexdigest(), numbers=shown)
    return [_Family(experiment, listed, record)] if listed else []
