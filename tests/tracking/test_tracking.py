import itertools
import json
import os
import pickle
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
import synthetic

from l2dynamics.analysis import per_run
from l2dynamics.results import tables
from l2dynamics.results.tables import Results
from l2dynamics.tracking import address, catalog, records, server
from l2dynamics.tracking.address import TrackingError
from l2dynamics.tracking.live import SWITCH, Tracker
from l2dynamics.tracking.recorder import Recorder
from l2dynamics.tracking.store import DIGEST, KEY, PARENT, Store, experiment_tags
from l2dynamics.tracking.sync import sync

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def fake(name: str = "fc", *, seeds: Sequence[int] = (0,), **extra: Any) -> Results:
    """Six runs a seed; the last one of η = 0.5 diverges."""
    table = synthetic.grid((0.1, 0.5), (0.0, 0.01, 0.1), seeds, horizon=2.0, points=12)
    last = (table["run"] == table["run"].iloc[-1]) & (table["step"] > 3)
    table.loc[last, list(tables.METRICS)] = np.nan
    return synthetic.results(name, table, **extra)


def recorded(results: Results) -> list[records.Record]:
    return records.of_rows(results.name, results.passport, results.table)


def run_of(results: Results, index: int) -> pd.DataFrame:
    run = results.table["run"].unique()[index]
    return results.table[results.table["run"] == run]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is after its creation, which takes MLflow seconds; remnants of a killed one do no harm."""
    root = tmp_path_factory.mktemp("store")
    (root / "mlflow").mkdir()
    for name in (".mlflow.db.new", ".mlflow.db.new-journal"):
        (root / "mlflow" / name).write_bytes(b"half a table")
    Store(root)
    assert sorted(p.name for p in (root / "mlflow").iterdir()) == [".lock", "mlflow.db"]
    return root / "mlflow" / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an empty store; its path is one that an address could trip over."""
    for name in ("MLFLOW_TRACKING_URI", SWITCH):
        monkeypatch.delenv(name, raising=False)
    checkout = tmp_path / "my work é"
    (checkout / "mlflow").mkdir(parents=True)
    for marker in ("dvc.yaml", "params.yaml"):
        (checkout / marker).write_text("scale: laptop\n")
    shutil.copy(empty_store, checkout / "mlflow" / "mlflow.db")
    monkeypatch.setenv("L2DYNAMICS_ROOT", str(checkout))
    return checkout


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the MLflow calls that write."""
    from mlflow.tracking import MlflowClient

    made: list[str] = []

    def count(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            return real(*args, **kwargs)

        return counted

    for name in ("create_experiment", "create_run", "log_batch", "set_tag", "set_terminated", "delete_run"):
        monkeypatch.setattr(MlflowClient, name, count(name, getattr(MlflowClient, name)))
    return made


def stored(root: Path, name: str = "fc") -> tuple[Any, dict[str, Any]]:
    """The client and the active runs by key; fails on duplicates."""
    store = Store(root)
    experiment = store.client.get_experiment_by_name(catalog.experiment(name).title)
    assert experiment is not None
    runs = store.client.search_runs([experiment.experiment_id], max_results=1000)
    keys = [run.data.tags[KEY] for run in runs]
    assert len(keys) == len(set(keys)), "a run is doubled"
    return store.client, dict(zip(keys, runs, strict=True))


def disown(client: Any) -> None:
    """Make all experiments somebody else's."""
    for entry in client.search_experiments():
        if "l2dynamics.project" in entry.tags:
            client.delete_experiment_tag(entry.experiment_id, "l2dynamics.project")


def artifacts(root: Path, run: Any) -> list[str]:
    """The files of a run in the default store."""
    folder = root / "mlflow" / "artifacts" / run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def assert_complete(root: Path, results: Results) -> None:
    _, runs = stored(root, results.name)
    read = tables.load(results.name, root, results.passport["scale"])
    wanted = {record.key: record.digest for record in recorded(read)}
    sweep = f"{results.name}/{results.passport['scale']}"
    found = {k: run.data.tags.get(DIGEST) for k, run in runs.items() if k.startswith(f"{sweep}/")}
    assert found == wanted
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.data.tags[PARENT] for k, run in runs.items() if k in wanted} == {runs[sweep].info.run_id}


def curve(client: Any, run: Any, metric: str) -> dict[int, float]:
    points = client.get_metric_history(run.info.run_id, metric)
    steps = [p.step for p in points]
    assert len(steps) == len(set(steps)), f"{metric} has two values at one step"
    return {p.step: p.value for p in points}


def test_everything_of_a_sweep_is_logged(root: Path) -> None:
    results = fake()
    tables.write(results, root)
    done = sync(root)
    assert (done.written, done.kept, done.removed, done.damaged) == (7, 0, 0, [])
    assert_complete(root, results)

    client, runs = stored(root)
    experiment = client.get_experiment_by_name("fc — MNIST (Fig. 2a–c, S1a, S6, S11)")
    assert "arxiv.org/abs/2006.08643" in experiment.tags["mlflow.note.content"]
    assert experiment.artifact_location == "mlflow-artifacts:/fc"

    parent = runs["fc/laptop"]
    assert parent.data.params["model.width"] == "256"
    assert parent.data.metrics["runs"] == 6
    assert parent.data.metrics["diverged"] == 1
    assert parent.inputs.dataset_inputs[0].dataset.name == "mnist"
    assert artifacts(root, parent) == ["fc.json"]

    rows = run_of(results, 1)
    run = runs[f"fc/laptop/{rows['run'].iloc[0]}"]
    assert run.info.run_name == "η=0.1 λ=0.01 seed=0"
    expected = {
        "eta": "0.1",
        "l2": "0.01",
        "seed": "0",
        "loss": "softmax",
        "data.name": "mnist",
        "scale": "laptop",
    }
    assert expected.items() <= run.data.params.items()
    tags = {"group": "grid", "setup": "fc", "scale": "laptop", "diverged": "false", "dvc.stage": "sweep@fc"}
    tags |= {
        "mlflow.source.git.commit": results.passport["git_commit"],
        "l2dynamics.config": results.passport["key"],
    }
    assert tags.items() <= run.data.tags.items()
    for metric in tables.METRICS:
        assert curve(client, run, metric) == dict(zip(rows["step"], rows[metric], strict=True))


def test_numbers_of_a_run_are_those_of_the_analysis(root: Path) -> None:
    results = fake()
    tables.write(results, root)
    sync(root)
    _, runs = stored(root)
    for row in per_run.summarize(results.table).to_dict("records"):
        metrics = runs[f"fc/laptop/{row['run']}"].data.metrics
        assert metrics["best/test_accuracy"] == row["max_test_accuracy"]
        assert metrics["t_star/epochs"] == row["t_star"]
        assert ("t_star/eta_lambda" in metrics) == (row["l2"] > 0)
        assert ("final/test_accuracy" in metrics) == (not row["diverged"])


def test_curves_of_all_eta_and_l2_collapse(root: Path) -> None:
    """t* = c/(ηλ), so that t·η·λ at the maximum is c, up to the spacing of the evaluations."""
    table = synthetic.grid((0.1, 0.5), (0.001, 0.1), (0,), horizon=2.0, points=200, c=0.7)
    tables.write(synthetic.results("fc", table), root)
    sync(root)
    client, runs = stored(root)
    for key, run in runs.items():
        if key.count("/") == 2:
            points = curve(client, run, "by_eta_lambda/test_accuracy")
            best = max(points, key=points.__getitem__)
            assert best / records.ETA_LAMBDA_UNIT == pytest.approx(0.7, rel=0.1)
            exact = curve(client, run, "axis/t_eta_lambda")
            assert max(exact.values()) == pytest.approx(2.0, rel=0.05)


def test_divergence_is_kept_as_nan(root: Path) -> None:
    results = fake()
    tables.write(results, root)
    sync(root)
    client, runs = stored(root)
    run = runs[f"fc/laptop/{results.table['run'].iloc[-1]}"]
    assert run.data.tags["diverged"] == "true"
    values = np.array([v for _, v in sorted(curve(client, run, "test_loss").items())])
    np.testing.assert_array_equal(values, run_of(results, -1)["test_loss"])


def content(root: Path) -> list[str]:
    """Every row of the store, as SQL."""
    with closing(sqlite3.connect(root / "mlflow" / "mlflow.db")) as connection:
        return list(connection.iterdump())


def test_second_sync_writes_nothing(root: Path, calls: list[str]) -> None:
    results = fake()
    tables.write(results, root)
    sync(root)
    assert calls.count("create_run") == 7
    assert set(calls) == {"create_run", "log_batch", "set_terminated"}
    calls.clear()
    before = content(root)
    done = sync(root)
    assert (done.kept, done.written, done.removed) == (7, 0, 0)
    assert calls == []
    assert content(root) == before


def _other_digest(client: Any, run: Any) -> None:
    client.set_tag(run.info.run_id, DIGEST, "other")


def _other_parent(client: Any, run: Any) -> None:
    client.set_tag(run.info.run_id, PARENT, run.info.run_id)


def _unfinished(client: Any, run: Any) -> None:
    client.update_run(run.info.run_id, status="RUNNING")


def _deleted(client: Any, run: Any) -> None:
    client.delete_run(run.info.run_id)


def _deleted_experiment(client: Any, run: Any) -> None:
    client.delete_experiment(run.info.experiment_id)


def _other_description(client: Any, run: Any) -> None:
    client.set_experiment_tag(run.info.experiment_id, "mlflow.note.content", "other")


def _of_another_grid(client: Any, run: Any) -> None:
    tags = {**run.data.tags, KEY: "fc/laptop/of another grid"}
    client.set_terminated(client.create_run(run.info.experiment_id, tags=tags).info.run_id)


@pytest.mark.parametrize(
    "change",
    [
        _other_digest,
        _other_parent,
        _unfinished,
        _deleted,
        _deleted_experiment,
        _other_description,
        _of_another_grid,
    ],
)
def test_whatever_is_not_as_it_should_be_is_seen_and_repaired(
    root: Path, change: Callable[[Any, Any], None]
) -> None:
    results = fake()
    tables.write(results, root)
    sync(root)
    client, runs = stored(root)
    change(client, next(run for key, run in runs.items() if key != "fc/laptop"))
    sync(root)
    assert_complete(root, results)
    found = client.get_experiment_by_name(catalog.experiment("fc").title)
    assert found.tags == experiment_tags(catalog.experiment("fc"))


def test_only_what_changed_is_replaced(root: Path) -> None:
    tables.write(fake(), root)
    sync(root)
    before = {k: run.info.run_id for k, run in stored(root)[1].items()}
    results = fake()
    changed, removed = results.table["run"].unique()[[1, 4]]
    results.table.loc[results.table["run"] == changed, "test_loss"] += 1e-15
    results = replace(results, table=results.table[results.table["run"] != removed])
    tables.write(results, root)
    done = sync(root)
    # The parent holds numbers of its passport alone, and that is the same.
    assert (done.kept, done.written) == (4, 2)
    assert_complete(root, results)
    after = {k: run.info.run_id for k, run in stored(root)[1].items()}
    assert {k for k in before if before[k] != after.get(k)} == {
        f"fc/laptop/{changed}",
        f"fc/laptop/{removed}",
        "fc/laptop",
    }


def test_scales_stand_side_by_side(root: Path) -> None:
    laptop, smoke = fake(), fake(scale="smoke", key="s" * 16)
    tables.write(laptop, root)
    sync(root)
    tables.write(smoke, root)
    sync(root)
    assert_complete(root, smoke)
    _, runs = stored(root)
    assert len(runs) == 14
    tables.write(laptop, root)
    assert sync(root).written == 0


def test_doubled_and_unfinished_runs_are_cleaned_up(root: Path) -> None:
    results = fake()
    tables.write(results, root)
    sync(root)
    client, runs = stored(root)
    experiment = runs["fc/laptop"].info.experiment_id
    for key, run in list(runs.items())[:4]:
        client.create_run(experiment, tags={**run.data.tags, KEY: key})
    client.set_tag(runs["fc/laptop"].info.run_id, DIGEST, "other")
    done = sync(root)
    assert done.removed >= 4
    assert_complete(root, results)


def test_killed_midway_then_repaired(root: Path) -> None:
    results = fake()
    tables.write(results, root)
    script = f"""
import os, signal
from pathlib import Path
from l2dynamics.tracking.store import Store
from l2dynamics.tracking.sync import sync
real, seen = Store.log, []
def log(self, run, record):
    seen.append(run)
    if len(seen) == 4:
        real(self, run, record, finished=False)
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, run, record)
Store.log = log
sync(Path({str(root)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = sync(root)
    assert (done.kept, done.written, done.removed) == (3, 4, 1)
    assert_complete(root, results)


def test_wiped_store_is_refilled(root: Path, empty_store: Path) -> None:
    results = fake()
    tables.write(results, root)
    (root.parent / "wiped").mkdir()
    shutil.copy(empty_store, root.parent / "wiped")
    first = sync(root, uri=f"sqlite:///{root.parent}/wiped/mlflow.db")
    assert first.written == 7
    second = sync(root)
    assert second.written == 7
    assert second.receipt() == first.receipt()
    assert_complete(root, results)


@pytest.mark.executes("rm -r mlflow")
def test_three_processes_create_the_store_at_once(root: Path) -> None:
    shutil.rmtree(root / "mlflow")
    results = fake()
    tables.write(results, root)
    command = [sys.executable, "-m", "l2dynamics.tracking", "sync"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in started:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_complete(root, results)


def test_damaged_results_do_not_stop_the_others(root: Path) -> None:
    for name in ("fc", "cnn"):
        tables.write(fake(name), root)
    (root / "results/laptop/cnn.csv").write_text("run\n")
    done = sync(root)
    assert_complete(root, fake("fc"))
    assert len(done.damaged) == 1
    assert "results/laptop/cnn.csv is damaged" in done.damaged[0]


def test_theory_and_report_are_logged_with_their_files(root: Path, calls: list[str]) -> None:
    tables.write(fake(), root)
    (root / "results/laptop/theory.json").write_text(json.dumps({"fig5c": {"slope": -1.5}, "panels": ["a"]}))
    (root / "results/laptop/theory.csv").write_text("panel,curve,x,y\na,k=2,0,1\n")
    for folder in ("figures", "claims"):
        (root / "reports" / "laptop" / folder).mkdir(parents=True)
    (root / "reports/laptop/figures/fig2.png").write_bytes(b"png")
    (root / "reports/laptop/index.html").write_text("<html>")
    (root / "reports/laptop/claims/01-fc.json").write_text(
        json.dumps({"measured": -0.98, "verdict": "confirmed"})
    )
    sync(root)
    client, _ = stored(root)
    for title, key, metrics, files in [
        (catalog.THEORY.title, "theory/laptop", {"fig5c.slope": -1.5}, ["theory.csv", "theory.json"]),
        (
            catalog.REPORT.title,
            "report/laptop",
            {"01-fc/measured": -0.98},
            ["claims/01-fc.json", "figures/fig2.png", "index.html"],
        ),
    ]:
        experiment = client.get_experiment_by_name(title)
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.data.tags[KEY] == key
        assert run.data.metrics == metrics
        assert artifacts(root, run) == files
    calls.clear()
    sync(root)
    assert calls == []
    (root / "reports/laptop/figures/fig2.png").write_bytes(b"another")
    assert sync(root).written == 1


def test_live_points_are_those_of_track(root: Path, calls: list[str]) -> None:
    """Reported in pieces or read from the file: the same points, and nothing left for track to do."""
    results = fake()
    rows = run_of(results, 1)
    header = {k: results.passport[k] for k in records.HEADER}
    recorder = Recorder(Store(root), "fc", header)
    for count in (2, 3, 3, 7):
        recorder.log(tables.table_bytes(rows.iloc[:count]), finished=False)
    client, runs = stored(root)
    (live,) = [run for key, run in runs.items() if key.count("/") == 2]
    assert live.info.status == "RUNNING"
    assert max(curve(client, live, "test_accuracy")) == rows["step"].iloc[6]
    recorder.log(tables.table_bytes(rows), finished=True)
    recorder.log(tables.table_bytes(rows.iloc[:7]), finished=False)

    tables.write(results, root)
    done = sync(root)
    assert (done.kept, done.written, done.removed) == (1, 6, 0)
    assert_complete(root, results)
    client, runs = stored(root)
    kept = runs[live.data.tags[KEY]]
    assert kept.info.run_id == live.info.run_id
    at_once = {f"{m}": dict(zip(rows["step"], rows[m], strict=True)) for m in tables.METRICS}
    assert {m: curve(client, kept, m) for m in tables.METRICS} == at_once
    record = next(r for r in recorded(tables.load("fc", root)) if r.key == live.data.tags[KEY])
    expected = {(name, x, value) for name, value, x in records.curves(record)}
    found = {(name, x, v) for name in {p[0] for p in expected} for x, v in curve(client, kept, name).items()}
    assert found == expected


def test_live_run_of_a_killed_stage_is_replaced(root: Path) -> None:
    results = fake()
    header = {k: results.passport[k] for k in records.HEADER}
    store = Store(root)
    Recorder(store, "fc", header).log(tables.table_bytes(run_of(results, 2).iloc[:4]), finished=False)
    Recorder(store, "fc", header).log(tables.table_bytes(run_of(results, 2).iloc[:3]), finished=False)
    assert len(stored(root)[1]) == 2
    tables.write(results, root)
    done = sync(root)
    assert (done.written, done.removed) == (7, 1)
    assert_complete(root, results)


def test_live_recorder_yields_to_a_sync_that_came_between(root: Path) -> None:
    results = fake()
    header = {k: results.passport[k] for k in records.HEADER}
    recorder = Recorder(Store(root), "fc", header)
    recorder.log(tables.table_bytes(run_of(results, 2).iloc[:4]), finished=False)
    tables.write(results, root)
    sync(root)
    recorder.log(tables.table_bytes(run_of(results, 2)), finished=True)
    assert_complete(root, results)


def test_accuracy_of_a_half_is_that_at_the_best_of_the_other() -> None:
    """Half A is best at the second evaluation, half B at the third; a run that diverged has what came before."""
    a, b = np.array([10, 40, 30, np.nan]), np.array([10, 20, 25, np.nan])
    blocks = np.stack([*[a] * 10, *[b] * 10], axis=1)
    rows = pd.DataFrame(blocks, columns=list(tables.BLOCKS)).assign(run="r", seed=0, step=range(4))
    assert records.halves(rows, 1000) == pytest.approx(
        {"best/test_accuracy_half_a": 30 / 50, "best/test_accuracy_half_b": 20 / 50}
    )
    assert records.halves(rows.iloc[3:], 1000) == {}


def test_tracker_carries_runs_to_the_store(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = fake()
    with Tracker("fc", results.passport, root, every=0.0) as tracker:
        worker = pickle.loads(pickle.dumps(tracker))
        for index in range(6):
            rows = run_of(results, index)
            worker.progress(rows.iloc[:4])
            tracker.finished(rows)
        tracker.close(patience=60)
    tables.write(results, root)
    done = sync(root)
    assert (done.kept, done.written, done.removed) == (6, 1, 0)
    assert_complete(root, results)
    assert list((root / "work/tracking").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_stages_side_by_side_and_one_after_another_are_all_logged(root: Path) -> None:
    results = {name: fake(name) for name in ("fc", "fc_small", "cnn")}

    def report(name: str) -> Tracker:
        tracker = Tracker(name, results[name].passport, root, every=0.0)
        for index in range(6):
            tracker.finished(run_of(results[name], index))
        return tracker

    for tracker in (report("fc"), report("fc_small")):
        tracker.close(patience=60)
    report("cnn").close(patience=60)
    assert list((root / "work/tracking").iterdir()) == []
    for one in results.values():
        tables.write(one, root)
    done = sync(root)
    assert (done.kept, done.written, done.removed) == (18, 3, 0)


def test_tracker_outlives_a_dead_server(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{closed_port()}")
    results = fake()
    tracker = Tracker("fc", results.passport, root)
    tracker.finished(run_of(results, 0))
    deadline = time.monotonic() + 60
    while tracker.enabled and time.monotonic() < deadline:
        time.sleep(0.1)
        tracker.finished(run_of(results, 1))
    tracker.finished(run_of(results, 2))
    tracker.close()
    _, errors = capfd.readouterr()
    assert errors.count("\n") == 1
    assert errors.startswith("live logging stopped, training goes on: MLflow at http://127.0.0.1:")
    assert "hunter2" not in errors
    assert list((root / "work/tracking").iterdir()) == []


def test_tracker_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "work").write_text("not a folder")
    results = fake()
    tracker = Tracker("fc", results.passport, tmp_path)
    tracker.finished(run_of(results, 0))
    tracker.close()
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv(SWITCH, "off")
    silent = Tracker("fc", results.passport, tmp_path)
    silent.progress(run_of(results, 0))
    silent.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("delay", "lasts", "recorders"), [(60.0, 0.0, 0), (0.01, 0.5, 1), (0.0, 0.0, 1)])
def test_a_stage_that_ends_soon_starts_no_recorder(tmp_path, monkeypatch, delay, lasts, recorders) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, "posix_spawn", lambda *rest, **options: started.append(rest))
    results = fake()
    with Tracker("fc", results.passport, tmp_path, delay=delay) as tracker:
        pickle.loads(pickle.dumps(tracker)).finished(run_of(results, 0))
        time.sleep(lasts)
    assert len(started) == recorders
    assert (list((tmp_path / "work/tracking").iterdir()) == []) == (recorders == 0)


def test_progress_is_reported_every_few_seconds_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_spawn", lambda *rest, **options: 0)
    results = fake()
    tracker = Tracker("fc", results.passport, tmp_path, every=1000)
    for count in range(2, 6):
        tracker.progress(run_of(results, 1).iloc[:count])
    (report,) = (tmp_path / "work/tracking").glob("*/*.part")
    assert len(tables.parse(report.read_bytes())) == 2
    tracker.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_silent_server_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        with pytest.raises(TrackingError, match=r"does not answer \(Read timed out") as caught:
            Store(root, f"http://me:hunter2@127.0.0.1:{listener.getsockname()[1]}")
    assert "hunter2" not in str(caught.value)


def test_waiting_for_a_dead_server_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    address.prepare_environment()
    tries = 1 + int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert tries * float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10


@pytest.mark.parametrize(
    "text",
    [
        "http://me:hunter2@host:5000/path",
        "postgresql://me:hunter2@db/l2?sslmode=require",
        "http://host/?token=hunter2",
        "Max retries exceeded with url: http://me:hunter2@host/api (Caused by\n …)",
        "could not translate 'me:hunter2@db'",
        "cannot use hunter2",
    ],
)
def test_secrets_are_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@host:5000")
    shown = address.public(text)
    assert "hunter2" not in shown
    assert "\n" not in shown


def test_secrets_are_not_on_the_command_line(tmp_path: Path) -> None:
    assert not any(
        "hunter2" in word for word in server.command("postgresql://me:hunter2@db/l2", tmp_path, 5000)
    )
    assert "127.0.0.1" in server.command("sqlite:///x.db", tmp_path, 5000)


def test_locked_and_damaged_stores_are_named_with_the_remedy(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = root / "mlflow/mlflow.db"
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="database is locked; another program writes to it"):
            Store(root)
    database.write_bytes(b"no database at all" * 100)
    with pytest.raises(TrackingError, match="delete the file and run `dvc repro -f -s track`"):
        Store(root)
    with pytest.raises(TrackingError, match=r"file is not a database$"):
        Store(root, f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with pytest.raises(TrackingError, match=r"file is not a database$"):
        Store(root)


def test_a_store_of_an_earlier_version_is_named_with_the_remedy(root: Path) -> None:
    store = Store(root)
    disown(store.client)
    tables.write(fake(), root)
    with pytest.raises(TrackingError, match=r"already exists.*; delete the file and run"):
        sync(root)


@pytest.mark.executes("make ui")
def test_web_interface_serves_what_is_synced_through_it(root: Path) -> None:
    """Over HTTP too NaN arrives and nothing is doubled; a busy port is said; Ctrl-C leaves no process behind."""
    results = fake()
    tables.write(results, root)
    busy = socket.create_server(("127.0.0.1", 0))
    taken = busy.getsockname()[1]
    command = [sys.executable, "-m", "l2dynamics.tracking", "ui", "--port", str(taken)]
    ui = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert ui.stdout is not None
        line = ui.stdout.readline()
        found = re.fullmatch(r"MLflow: (http://127\.0\.0\.1:\d+) \(Ctrl-C stops it\)\n", line)
        assert found, line
        assert sync(root, ["fc"], found.group(1)).written == 7
        assert_complete(root, results)
        parent = stored(root)[1]["fc/laptop"].info.run_id
        place = f"get-artifact?path=fc.json&run_id={parent}"
        with urlopen(f"{found.group(1)}/{place}", timeout=30) as file:
            assert json.load(file)["name"] == "fc"
        with urlopen(found.group(1), timeout=30) as page:
            assert b"<html" in page.read()
        assert sync(root, ["fc"], found.group(1)).written == 0
        # Not by communicate(): it loses what readline() has read ahead.
        said = [ui.stdout.readline().rstrip() for _ in range(2)]
    finally:
        ui.send_signal(signal.SIGINT)
        _, errors = ui.communicate(timeout=60)
        busy.close()
    assert (ui.returncode, errors) == (0, "")
    port = found.group(1).rpartition(":")[2]
    assert said == [
        f"Port {taken} is busy, this is {port}: links of the report lead to {taken}",
        "The store is empty: it is being filled from results/, reload the page",
    ]
    with pytest.raises(URLError):
        urlopen(found.group(1), timeout=5)
    client, runs = stored(root)
    diverged = runs[f"fc/laptop/{results.table['run'].iloc[-1]}"]
    assert np.isnan(list(curve(client, diverged, "test_loss").values())).any()


@pytest.fixture
def postgresql() -> Iterator[str]:
    """Address of an empty PostgreSQL database on this machine."""
    pytest.importorskip("psycopg2", reason="psycopg2-binary is in the extra cluster")
    found = shutil.which("initdb") or max(
        map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=""
    )
    if not found:
        pytest.skip("PostgreSQL is not installed")
    # It does not run as root, and root's temporary folders are closed to others.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="l2dynamics-postgresql-"))
    if user:
        shutil.chown(folder, user)
    port = closed_port()

    def call(name: str, *arguments: str) -> None:
        command = [str(Path(found).with_name(name)), "--pgdata", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", user=user, timeout=120)

    call("initdb", "--auth=trust", "--username=mlflow", "--encoding=UTF8")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    call("pg_ctl", "--wait", "--log", str(folder / "log"), "--options", options, "start")
    try:
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "--wait", "--mode=fast", "stop")
        shutil.rmtree(folder)


def await_answer(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, "the server has ended"
        with suppress(OSError), urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError("the server does not answer")


@pytest.mark.slow
def test_eight_writers_at_once_through_a_server_on_postgresql(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/cluster.md says it: nothing is lost, nothing is doubled, and a second time nothing is written."""
    port = closed_port()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", postgresql, "--artifacts-destination", str(tmp_path / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("wb") as log:
        mlflow_server = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        await_answer(f"{uri}/health", mlflow_server)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        checkouts = {}
        for name in ("fc", "fc_mse", "fc_small", "cnn", "cnn_bn", "wrn", "wrn_aug", "resnet"):
            root = tmp_path / name
            root.mkdir()
            for marker in ("dvc.yaml", "params.yaml"):
                (root / marker).write_text("scale: laptop\n")
            checkouts[root] = fake(name, seeds=(0, 1, 2))
            tables.write(checkouts[root], root)
        for done in ("kept 0, written 19, removed 0 runs", "kept 19, written 0, removed 0 runs"):
            writers = [
                subprocess.Popen(
                    [sys.executable, "-m", "l2dynamics.tracking", "sync"],
                    env={**os.environ, "L2DYNAMICS_ROOT": str(root)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for root in checkouts
            ]
            for writer in writers:
                output, errors = writer.communicate(timeout=300)
                assert (writer.returncode, output.strip(), errors) == (0, done, "")
        for root, results in checkouts.items():
            assert_complete(root, results)
            client, runs = stored(root, results.name)
            for run in results.table["run"].unique():
                rows = results.table[results.table["run"] == run]
                points = curve(client, runs[f"{results.name}/laptop/{run}"], "test_accuracy")
                assert list(points) == list(rows["step"])
                np.testing.assert_array_equal(list(points.values()), rows["test_accuracy"])
    finally:
        os.killpg(mlflow_server.pid, signal.SIGTERM)
        mlflow_server.wait(60)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("mlruns", "MLflow no longer writes to folders"),
        ("./x", "MLflow no longer writes to folders"),
        ("file:///data/mlruns", "MLflow no longer writes to folders"),
        ("databricks", "this project does not log there"),
        ("databricks://me", "this project does not log there"),
        ("uc:me", "this project does not log there"),
        ("s3://bucket/mlruns", "this project does not log there"),
    ],
)
def test_what_is_no_store_is_refused_in_one_true_line(
    tmp_path: Path, uri: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError) as caught:
        address.tracking_uri(tmp_path)
    assert str(caught.value).startswith(f"MLFLOW_TRACKING_URI={uri}: {reason}; use http://host:port or ")


@pytest.mark.parametrize("name", ["job_feature%2Fx", "a?b=c&d", "a#b", "a  b é", "50%"])
def test_the_path_of_a_checkout_may_have_any_characters(root: Path, name: str) -> None:
    moved = root.rename(root.with_name(name))
    results = fake()
    tables.write(results, moved)
    before = sorted(root.parent.iterdir())
    assert sync(moved).written == 7
    assert_complete(moved, results)
    assert sorted(root.parent.iterdir()) == before
    assert {p.name for p in moved.iterdir()} == {"dvc.yaml", "params.yaml", "results", "mlflow"}


def test_a_new_store_lies_in_a_checkout_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    checkout = tmp_path / "job_feature%2Fx?y"
    checkout.mkdir()
    Store(checkout)
    assert [p.name for p in tmp_path.iterdir()] == [checkout.name]
    assert sorted(p.name for p in (checkout / "mlflow").iterdir()) == [".lock", "mlflow.db"]


def test_experiments_of_others_are_left_alone(root: Path) -> None:
    """Whatever they are called, tagged or where their files lie: in a shared store only our own are written to."""
    tables.write(fake(), root)
    uri = f"sqlite:///{root.parent}/mlflow/mlflow.db"
    shutil.copytree(root / "mlflow", root.parent / "mlflow")
    client = Store(root, uri).client
    disown(client)
    place = (root.parent / "mlflow" / "artifacts").as_uri()
    client.create_experiment("theirs", f"{place}/theirs", {"setup": "fc"})
    before = {entry.experiment_id: dict(entry) for entry in client.search_experiments()}
    assert (sync(root, uri=uri).written, sync(root, uri=uri).kept) == (7, 7)
    after = {entry.experiment_id: dict(entry) for entry in client.search_experiments()}
    assert {key: after[key] for key in before} == before
    assert client.search_runs(list(before)) == []
    (ours,) = after.keys() - before.keys()
    assert after[ours]["name"] == f"{catalog.experiment('fc').title} · l2dynamics"


def test_a_moved_checkout_keeps_its_store_and_its_files(root: Path) -> None:
    tables.write(fake(), root)
    sync(root)
    moved = root.rename(root.with_name("elsewhere"))
    assert (sync(moved).written, sync(moved).kept) == (0, 7)
    tables.write(fake(scale="smoke", key="s" * 16), moved)
    sync(moved)
    _, runs = stored(moved)
    assert [artifacts(moved, runs[key]) for key in ("fc/laptop", "fc/smoke")] == [["fc.json"], ["fc.json"]]
    assert not root.exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.15, "0.15"),
        (1e-3, "1e-3"),
        (5e-4, "5e-4"),
        (1.5625e-5, "1.5625e-5"),
        (0.0, "0"),
        (50.0, "50"),
        (0.05, "0.05"),
        (2e6, "2e6"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_numbers_are_written_as_one_types_them(value: float, text: str) -> None:
    assert records.number(value) == text
    assert float(records.number(value)) == value


def test_titles_say_what_a_sweep_varies() -> None:
    row = {"group": "grid", "eta": 0.15, "l2": 1e-3, "seed": 0, "sigma_w": 1.0, "budget": 50.0}
    assert records.title("fc", row) == "η=0.15 λ=1e-3 seed=0"
    assert records.title("wrn_aug", row | {"group": "predicted"}) == "predicted η=0.15 λ=1e-3 T=50 seed=0"
    assert records.title("wrn_sigma", row | {"group": "scaled"}) == "scaled η=0.15 λ=1e-3 σw=1 T=50 seed=0"
    auto = row | {"group": "auto_subset", "l2": 0.1}
    assert records.title("autol2_fc", auto) == "AutoL2 subset η=0.15 λ₀=0.1 T=50 seed=0"


def test_adaptive_coefficient_is_a_curve(root: Path) -> None:
    results = synthetic.autol2("autol2_wrn", wins=True, seeds=(0,))
    tables.write(results, root)
    sync(root)
    client, runs = stored(root, "autol2_wrn")
    (auto,) = [run for key, run in runs.items() if "auto_subset" in key]
    assert set(curve(client, auto, "l2").values()) == {0.1, 0.01, 0.001}
    assert "by_eta_lambda/test_accuracy" not in auto.data.metrics


def test_every_sweep_has_an_experiment() -> None:
    known = {name for entry in catalog.EXPERIMENTS for name in entry.results}
    assert known >= set(synthetic.everything())
    titles = [entry.title for entry in (*catalog.EXPERIMENTS, catalog.THEORY, catalog.REPORT)]
    assert len(set(titles)) == len(titles)
    assert catalog.experiment("my_sweep").title == "my_sweep"


@contextmanager
def troubled_server(trouble: str, root: Path) -> Iterator[str]:
    """The address of a store in trouble: nobody listens, nobody answers, the server dies, another writer."""
    if trouble == "locked":
        with closing(sqlite3.connect(root / "mlflow/mlflow.db")) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            yield ""
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if trouble != "down":
            listener.listen()

        def die() -> None:
            # It answers that it is well, and is gone with the first request.
            with suppress(OSError):
                connection, _ = listener.accept()
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
                connection.close()
            listener.close()

        thread = threading.Thread(target=die)
        if trouble == "dies":
            thread.start()
        yield uri
        if trouble == "dies":
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


@pytest.mark.parametrize("trouble", ["down", "silent", "dies", "locked"])
def test_a_store_in_trouble_costs_training_seconds_and_track_completes_it(
    trouble: str, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    results = fake()
    lost = 0.0

    def timed(action: Callable[[], Any]) -> Any:
        nonlocal lost
        began = time.monotonic()
        answer = action()
        lost += time.monotonic() - began
        return answer

    with troubled_server(trouble, root) as uri:
        if uri:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        tracker = timed(lambda: Tracker("fc", results.passport, root, every=0.0))
        for index in range(6):
            rows = run_of(results, index)
            timed(lambda rows=rows: tracker.progress(rows.iloc[:4]))
            timed(lambda rows=rows: tracker.finished(rows))
        timed(tracker.close)
    print(f"{trouble}: {lost:.2f} s of the training lost")
    assert lost < 15
    assert "Traceback" not in capfd.readouterr().err
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    deadline = time.monotonic() + 120
    while list((root / "work/tracking").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.1)  # until the recorder has ended, too
    tables.write(results, root)
    sync(root)
    assert_complete(root, results)


def test_a_clock_that_jumps_doubles_and_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = fake()
    tables.write(results, root)
    now, jumps = time.time, itertools.cycle([3e7, -3e7])
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    assert sync(root).written == 7
    assert (sync(root).written, sync(root).removed) == (0, 0)
    assert_complete(root, results)


def test_the_lengths_of_weights_are_curves_and_no_parameters():
    results = synthetic.everything()["cnn_bn_l2_all"]
    record = records.of_rows(results.name, results.passport, results.table)[0]
    layers = {f"log_norm_Conv_{k}" for k in range(3)}
    assert not layers & set(record.params)
    assert layers <= {name for name, _, _ in records.points(record, finished=True)}
    longer = results.table.assign(log_norm_Conv_0=results.table["log_norm_Conv_0"] + 1)
    assert records.of_rows(results.name, results.passport, longer)[0].digest != record.digest
