"""The one place that talks to MLflow: a store with find, create, log and delete.

A run is complete when it is FINISHED, which is written last, and carries the digest of its record. Anything else is
a run that somebody did not finish, or that held something else, and is replaced. Nothing is written to experiments
without this project's tag.
"""

import fcntl
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2dynamics.tracking import address, catalog, records, views
from l2dynamics.tracking.address import TrackingError
from l2dynamics.tracking.catalog import Experiment
from l2dynamics.tracking.records import Record

KEY, DIGEST, PROJECT = "l2dynamics.key", "l2dynamics.digest", "l2dynamics.project"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
ARTIFACTS = "artifacts"
#: Where the default store has its artifacts: MLflow's server knows the folder, so that a checkout can be moved.
_SERVED = "mlflow-artifacts:/"
#: MLflow cuts longer params and tags with a warning, characters.
_LONGEST = 5000
_REBUILD = "; delete the file and run `dvc repro -f -s track`: the results files hold everything"
_UNUSABLE = ("not a database", "malformed", "no such table", "out-of-date database schema", "already exists")


class Store:
    """The tracking store at ``uri``; None for ``$MLFLOW_TRACKING_URI`` or the default store of a checkout.

    Use it inside :meth:`locked`: two writers would double runs.

    Raises:
        TrackingError: MLflow is not installed, or the store cannot be reached.
    """

    def __init__(self, root: Path, uri: str | None = None) -> None:
        address.prepare_environment()
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise TrackingError(
                "MLflow is not installed: pip install '.[pipeline]' in a checkout of l2dynamics"
            ) from error
        self._default = not (uri or address.chosen())
        self._uri = uri or address.tracking_uri(root)
        self._database = address.database(self._uri)
        self._folder = self._database.parent if self._database else address.folder(root)
        self._ids: dict[str, str] = {}
        self.client: Any = None
        with self.locked():
            if self._database and not (self._database.exists() and self._database.stat().st_size):
                # MLflow builds the tables by some forty migrations; a process killed between two of them leaves a
                # file that no MLflow can open. So it is built beside, and appears complete.
                new = self._database.with_name(f".{self._database.name}.new")
                for remnant in (new, new.with_name(f"{new.name}-journal")):
                    remnant.unlink(missing_ok=True)
                self.client = MlflowClient(address.sqlite(new))
                for entry in catalog.ALL:  # in this order: the report's links know their numbers
                    self.experiment(entry)
                new.replace(self._database)
            self.client = MlflowClient(self._uri)
            self.client.search_experiments(max_results=1)

    def empty(self) -> bool:
        """Whether the store holds no run at all."""
        known = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return not self.client.search_runs(known, max_results=1)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writers' lock of this store (one machine); whatever fails inside is a one-line TrackingError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except TrackingError:
            raise
        except Exception as error:
            raise TrackingError(f"MLflow at {address.public(self._uri)}: {self._line(error)}") from error

    def _line(self, error: Exception) -> str:
        text = address.public(str(error).strip().partition("\n")[0]) or type(error).__name__
        if cause := re.search(r"Caused by \w+\((.*)\)", text):
            reason = cause.group(1).rpartition(": ")[2].strip("\"')(")
            return f"the server does not answer ({reason}); start it or unset MLFLOW_TRACKING_URI"
        text = text if len(text) <= 300 else f"{text[:297]}…"
        if "database is locked" in text:
            text += "; another program writes to it: run `dvc repro track` again"
        return text + _REBUILD if self._default and any(sign in text for sign in _UNUSABLE) else text

    def experiment(self, entry: Experiment) -> str:
        """Return the id of an experiment of this project; it is created, or restored from the bin, where needed.

        Where another experiment has its title, it gets a longer one.
        """
        from mlflow.entities import ViewType
        from mlflow.exceptions import MlflowException

        if entry.setup in self._ids:
            return self._ids[entry.setup]
        tags = experiment_tags(entry)
        ours = f"tags.`{PROJECT}` = '{tags[PROJECT]}' AND tags.setup = '{entry.setup}'"
        place = f"{_SERVED}{entry.setup}" if self._default else None
        if self._database and not self._default:
            place = (self._folder / ARTIFACTS / entry.setup).as_uri()
        titles = [entry.title, f"{entry.title} · l2dynamics"][: 1 if self._default else 2]
        while not (found := self.client.search_experiments(ViewType.ALL, filter_string=ours)):
            try:
                self.client.create_experiment(titles.pop(0), place, tags)
            except MlflowException as error:
                if not titles or error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        experiment = min(found, key=lambda one: int(one.experiment_id))
        found_id = self._ids[entry.setup] = str(experiment.experiment_id)
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(found_id)
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                self.client.set_experiment_tag(found_id, key, value)
        return found_id

    def find(self, experiment_id: str, tag: str, value: str) -> list[Any]:
        """Return the runs with a tag, the oldest first."""
        order = ["attributes.start_time ASC"]
        query = f"tags.`{tag}` = '{value}'"
        return list(self.client.search_runs([experiment_id], query, max_results=50_000, order_by=order))

    def create(self, experiment_id: str, record: Record, parent: str = "") -> Any:
        """Start a run, the child of its parent if there is one, with its data set as input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # All tags at once: a tag that is written later costs a transaction of its own.
        tags = _shown({**record.tags, PARENT: parent}) | {KEY: record.key, DIGEST: record.digest}
        run = self.client.create_run(experiment_id, run_name=record.title, tags=tags)
        if data := record.header.get("data"):
            profile = ", ".join(f"{k} {data[k]}" for k in ("train", "test", "image_size") if data.get(k))
            name, digest = str(data.get("name")), f"{data.get('source')}-{data.get('train')}"[:36]
            dataset = Dataset(name, digest, "tfds", f"{name}/{data.get('version')}", profile=profile)
            used = DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])
            self.client.log_inputs(run.info.run_id, [used])
        return run

    def log(self, run: Any, record: Record, *, finished: bool = True) -> None:
        """Log params and points, one that was logged before only once; ``finished`` marks the run as complete."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, start = run.info.run_id, run.info.start_time
        # A point is the same if its time is the same, too.
        metrics = [Metric(k, v, start + x, x) for k, v, x in records.points(record, finished=finished)]
        params = [Param(k, v) for k, v in _shown(record.params).items()]
        # A run that was begun live learns only now whether it diverged.
        tags = _shown({**record.tags, DIGEST: record.digest}) if finished else {}
        changed = [RunTag(k, v) for k, v in tags.items() if run.data.tags.get(k) != v]
        self.client.log_batch(run_id, metrics, params, changed)
        if finished:  # the clock may have been set back since the start
            self.client.set_terminated(run_id, "FINISHED", max(int(time.time() * 1000), start))

    def complete(self, run: Any, record: Record) -> bool:
        """Whether a run is complete and holds this record."""
        return run.info.status == "FINISHED" and run.data.tags.get(DIGEST) == record.digest

    def delete(self, runs: Iterable[Any]) -> None:
        """Move runs to MLflow's bin."""
        for run in runs:
            self.client.delete_run(run.info.run_id)

    def artifact(self, run: Any, file: Path, place: str = "") -> None:
        """Attach a file, in a folder of the run's artifacts."""
        uri = run.info.artifact_uri
        if self._database and uri.startswith(_SERVED):
            target = self._folder / ARTIFACTS / uri.removeprefix(_SERVED) / place
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        else:
            self.client.log_artifact(run.info.run_id, str(file), place or None)


def experiment_tags(entry: Experiment) -> dict[str, str]:
    """Tags of an experiment: whose it is, its description and its saved views."""
    return {PROJECT: catalog.PAPER, NOTE: entry.description, "setup": entry.setup, **views.tags()}


def _shown(tags: Mapping[str, str]) -> dict[str, str]:
    return {k: v[:_LONGEST] for k, v in tags.items() if v}
