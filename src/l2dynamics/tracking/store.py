"""The one place that talks to MLflow: a store with find, create, fill, finish and delete.

A run is complete when it is FINISHED, which is written last, and carries the digest of its record. Anything
else is a run that somebody did not finish, or that held something else, and is replaced.
"""

import fcntl
import math
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from l2dynamics.tracking import address, catalog, views
from l2dynamics.tracking.address import TrackingError
from l2dynamics.tracking.catalog import Experiment
from l2dynamics.tracking.records import Point, Record

KEY, DIGEST, SWEEP = "l2dynamics.key", "l2dynamics.digest", "l2dynamics.sweep"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
ARTIFACTS = "artifacts"
#: MLflow cuts longer params and tags with a warning, characters.
_LONGEST = 5000
_LARGEST = sys.float_info.max
_INSERT = "INSERT {} INTO {} (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
_IF_LATER = (
    " ON CONFLICT (key, run_uuid) DO UPDATE SET (value, timestamp, step, is_nan) = "
    "(excluded.value, excluded.timestamp, excluded.step, excluded.is_nan) "
    "WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)"
)
_PARAM = "INSERT OR IGNORE INTO params (run_uuid, key, value) VALUES (?, ?, ?)"
_FINISH = "UPDATE runs SET status = 'FINISHED', end_time = ? WHERE run_uuid = ?"
_REBUILD = "; delete the file and run `dvc repro -f -s track`: the results files hold everything"
_REMEDIES = {
    "database is locked": "; another program writes to it: run `dvc repro track` again",
    "not a database": _REBUILD,
    "malformed": _REBUILD,
    "no such table": _REBUILD,
    "out-of-date database schema": _REBUILD,
}


class _Content(NamedTuple):
    """What a run is filled with."""

    run_id: str
    start: int
    points: Sequence[Point]
    params: Mapping[str, str]
    end: int | None


class Store:
    """A tracking store. Use it inside :meth:`locked`: two writers would double runs.

    Args:
        uri: address of the store.
        root: the checkout; the default store's artifacts and every lock lie in its ``mlflow/``.

    Raises:
        TrackingError: MLflow is not installed, or the store cannot be reached.
    """

    def __init__(self, uri: str, root: Path) -> None:
        address.prepare_environment()
        address.probe(uri)
        self.uri, self.root = uri, root
        self._database = address.database(uri)
        self._folder = self._database.parent if self._database else address.folder(root)
        with self.errors():
            self._folder.mkdir(parents=True, exist_ok=True)
        self._experiments: dict[str, str] = {}
        self._pending: list[_Content] | None = None  # a list inside together()
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise TrackingError("MLflow is not installed: pip install 'l2dynamics[pipeline]'") from error
        with self.locked() if self._database else nullcontext(), self.errors():
            new = self._database is not None and not (
                self._database.exists() and self._database.stat().st_size
            )
            if self._database:
                self._create(self._database) if new else self._follow_a_move(self._database)
            self.client: Any = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
            self._opened = self._inode(self._database) if self._database else 0
            if new:  # in this order: the report's links know their numbers
                for experiment in catalog.ALL:
                    self.experiment(experiment)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writers' lock of this store (one machine); waits for another writer to finish."""
        with self.errors():
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn whatever MLflow and the libraries below it raise into a one-line :class:`TrackingError`."""
        try:
            yield
        except TrackingError:
            raise
        except Exception as error:
            reason = _first_line(error)
            if self._database:
                reason += next((remedy for sign, remedy in _REMEDIES.items() if sign in reason), "")
            raise TrackingError(f"MLflow at {address.public(self.uri)}: {reason}") from error

    def exists(self) -> bool:
        """Whether the file behind the store is there and the one that was opened; always for a server."""
        return self._database is None or self._inode(self._database) == self._opened

    @staticmethod
    def _inode(database: Path) -> int:
        return database.stat().st_ino if database.exists() else 0

    def experiment(self, experiment: Experiment) -> str:
        """Return the id of an experiment; it is created, or restored from the bin, where needed."""
        if experiment.title in self._experiments:
            return self._experiments[experiment.title]
        with self.errors():
            found = self.client.get_experiment_by_name(experiment.title)
            if found is None:
                artifacts = self._artifacts() / experiment.setup if self._database else None
                found_id = self.client.create_experiment(
                    experiment.title, artifact_location=artifacts and artifacts.as_uri()
                )
                tags: dict[str, str] = {}
            else:
                found_id, tags = found.experiment_id, found.tags
                if found.lifecycle_stage == "deleted":
                    self.client.restore_experiment(found_id)
            for key, value in experiment_tags(experiment).items():
                if tags.get(key) != value:
                    self.client.set_experiment_tag(found_id, key, value)
        self._experiments[experiment.title] = found_id
        return str(found_id)

    def find(self, experiment_id: str, tag: str, value: str) -> dict[str, list[Any]]:
        """Return the runs with a tag, by key. Several runs under one key are duplicates, the oldest first."""
        runs: list[Any] = []
        token = None
        with self.errors():
            while True:
                page = self.client.search_runs(
                    [experiment_id], f"tags.`{tag}` = '{value}'", max_results=1000, page_token=token
                )
                runs += page
                token = page.token
                if not token:
                    break
        found: dict[str, list[Any]] = {}
        for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id)):
            found.setdefault(run.data.tags.get(KEY, ""), []).append(run)
        return found

    def create(self, experiment_id: str, record: Record, parent: str | None = None) -> Any:
        """Start a run; a parent's id makes it a child."""
        # All tags at once: a tag that is written later costs a transaction of its own.
        tags = _shown(record.tags) | {KEY: record.key, DIGEST: record.digest}
        tags |= {PARENT: parent} if parent else {}
        with self.errors():
            return self.client.create_run(experiment_id, run_name=record.title, tags=tags)

    def fill(
        self,
        run: Any,
        points: Sequence[Point],
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        end: int | None = None,
    ) -> None:
        """Log tags, points and params; a point logged twice is stored once, its time being start + x.

        Args:
            run: from :meth:`create` or :meth:`find`.
            points: of its curves, and single numbers.
            params: by name; empty ones are left out.
            tags: by name; those that the run has are left alone.
            end: time in milliseconds since 1970 at which the run is FINISHED, written last; None leaves it running.
        """
        from mlflow.entities import RunTag

        changed = [RunTag(k, v) for k, v in _shown(tags or {}).items() if run.data.tags.get(k) != v]
        with self.errors():
            if changed:
                self.client.log_batch(run.info.run_id, [], [], changed)
        content = _Content(run.info.run_id, run.info.start_time, points, _shown(params or {}), end)
        if self._pending is None:
            self._log([content])
        else:
            self._pending.append(content)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is filled inside is written at the end of the block; until then those runs are unfinished ones."""
        pending: list[_Content] = []
        self._pending = pending
        try:
            yield
        finally:
            self._pending = None
        self._log(pending)

    def _log(self, contents: Sequence[_Content]) -> None:
        from mlflow.entities import Metric, Param

        with self.errors():
            if self._database is not None and _write(self._database, contents):
                return
            for run_id, start, points, params, end in contents:
                metrics = [Metric(key, value, start + x, x) for key, value, x in points]
                self.client.log_batch(run_id, metrics, [Param(k, v) for k, v in params.items()])
                if end is not None:
                    self.client.set_terminated(run_id, "FINISHED", end)

    def finish(self, run: Any, points: Sequence[Point], params: Mapping[str, str], record: Record) -> None:
        """Log what a run still lacks and mark it as complete."""
        # The clock may have been set back since the start.
        end = max(int(time.time() * 1000), run.info.start_time)
        # A run that was begun live learns only now whether it diverged.
        self.fill(run, points, params, {**record.tags, DIGEST: record.digest}, end)

    def complete(self, run: Any, digest: str) -> bool:
        """Whether a run is complete and holds this record."""
        return run.info.status == "FINISHED" and run.data.tags.get(DIGEST) == digest

    def tag(self, run: Any, key: str, value: str) -> None:
        """Set one tag."""
        with self.errors():
            self.client.set_tag(run.info.run_id, key, value)

    def delete(self, runs: Iterable[Any]) -> None:
        """Move runs to MLflow's bin."""
        with self.errors():
            for run in runs:
                self.client.delete_run(run.info.run_id)

    def dataset(self, run: Any, data: Mapping[str, Any]) -> None:
        """Attach the data set of a passport as the run's input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, source = str(data.get("name", "")), f"{data.get('name')}/{data.get('version')}"
        digest = f"{data.get('source')}-{data.get('train')}"[:36]
        profile = ", ".join(f"{k} {data[k]}" for k in ("train", "test", "image_size") if data.get(k))
        entry = Dataset(name=name, digest=digest, source_type="tfds", source=source, profile=profile)
        with self.errors():
            self.client.log_inputs(
                run.info.run_id, [DatasetInput(entry, [InputTag("mlflow.data.context", "train")])]
            )

    def artifact(self, run: Any, file: Path, place: str | None = None) -> None:
        """Attach a file."""
        with self.errors():
            self.client.log_artifact(run.info.run_id, str(file), place)

    def text(self, run: Any, text: str, name: str) -> None:
        """Attach a text as a file."""
        with self.errors():
            self.client.log_text(run.info.run_id, text, name)

    def _artifacts(self) -> Path:
        return self._folder / ARTIFACTS

    def _create(self, database: Path) -> None:
        # MLflow builds the tables by some forty migrations; a process killed between two of them leaves a
        # file that no MLflow can open. So it is built beside, and appears complete.
        new = database.with_name(f".{database.name}.new")
        for remnant in (new, new.with_name(f"{new.name}-journal")):
            remnant.unlink(missing_ok=True)
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        store = SqlAlchemyStore(f"sqlite:///{new}", self._artifacts().as_uri())
        store.engine.dispose()
        new.replace(database)

    def _follow_a_move(self, database: Path) -> None:
        # MLflow stores absolute addresses of artifacts: a copied checkout would write into the original.
        here = self._artifacts().as_uri()
        with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            places = connection.execute(
                "SELECT artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) "
                "WHERE key = 'setup' AND artifact_location LIKE 'file:%'"
            )
            for old in {place.rpartition("/")[0] for (place,) in places} - {here}:
                for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE instr({column}, ?) = 1",
                        (here, len(old) + 1, f"{old}/"),
                    )


def _write(database: Path, contents: Sequence[_Content]) -> bool:
    # MLflow takes three transactions a run, and makes an object of every point and another of every latest point: 255
    # runs of 500 points took 3 times as long as with one transaction a run, which took 1.5 times as long as one for 32.
    # False where the tables are not as in MLflow 3.17.
    try:
        with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            for run_id, start, points, params, end in contents:
                limited = [
                    (key, min(max(value, -_LARGEST), _LARGEST), x, math.isnan(value))
                    for key, value, x in points
                ]
                rows = [
                    (run_id, key, 0.0 if nan else value, start + x, x, nan) for key, value, x, nan in limited
                ]
                connection.executemany(_INSERT.format("OR IGNORE", "metrics"), rows)
                connection.executemany(_INSERT.format("", "latest_metrics") + _IF_LATER, rows)
                connection.executemany(_PARAM, [(run_id, key, value) for key, value in params.items()])
                if end is not None:
                    connection.execute(_FINISH, (end, run_id))
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        return False
    return True


def experiment_tags(experiment: Experiment) -> dict[str, str]:
    """Tags of an experiment: its description and its saved views."""
    return {NOTE: experiment.description, "setup": experiment.setup, **views.tags()}


def _shown(tags: Mapping[str, str]) -> dict[str, str]:
    return {k: v[:_LONGEST] for k, v in tags.items() if v}


def _first_line(error: BaseException) -> str:
    text = address.public(str(error).strip().partition("\n")[0]) or type(error).__name__
    if cause := re.search(r"Caused by \w+\((.*)\)", text):
        reason = cause.group(1).rpartition(": ")[2].strip("\"')(")
        return address.no_answer(reason)
    return text if len(text) <= 300 else f"{text[:297]}…"
