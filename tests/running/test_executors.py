"""One process or many: the same numbers; failures, signals and what is left after them."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from places import ROOT
from pretended_workers import pretend
from small_setups import dataset, setup
from small_sweep import scale_text

from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.scales import Executor
from l2dynamics.pipeline import training_stage
from l2dynamics.results import tables
from l2dynamics.running import affinity, executors, interruption, pool, train_job, workload
from l2dynamics.running.executors import JobsFailed, workers
from l2dynamics.running.interruption import Interrupted, stop_on_signal

IN_PROCESS = Executor(kind="in_process")


def silent(event):
    """No progress."""


def specs(count, steps=6):
    return [RunSpec("grid", 0.1, 0.01, seed, 1.4, steps / 3, steps) for seed in range(count)]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup))
    train_job._trainer.cache_clear()
    return Recipe("sweep@test", setup(), 4, "sample", tmp_path)


@pytest.fixture
def samples(tmp_path):
    """A checkout with the sample data and small sweeps, without anything computed."""
    root = tmp_path / "checkout"
    for folder in ("data/sample", "stages"):
        shutil.copytree(ROOT / folder, root / folder)
    for file in ("dvc.yaml", "params.yaml", "constraints.txt"):
        shutil.copy(ROOT / file, root / file)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(re.sub(r"^scale: \w+", "scale: smoke", text, flags=re.MULTILINE))
    (root / "scales").mkdir()
    done = subprocess.run(
        [sys.executable, "stages/data.py", "mnist"],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return root


def environment(root):
    return {**os.environ, "L2DYNAMICS_ROOT": str(root), "L2DYNAMICS_TRACKING": "off"}


# ------------------------------------------------------------------------------------------ how many workers


@pytest.mark.parametrize(
    ("executor", "cores", "count", "expected"),
    [
        (Executor(), 2, 10, 2),
        (Executor(), 8, 3, 3),
        (Executor(), 1, 10, 0),
        (Executor(), 8, 1, 0),
        (Executor(workers=3), 8, 10, 3),
        (Executor(kind="processes", workers=4), 2, 10, 4),
        (IN_PROCESS, 8, 10, 0),
    ],
)
def test_workers(executor, cores, count, expected, monkeypatch):
    monkeypatch.setattr(affinity, "cores", lambda: list(range(cores)))
    monkeypatch.setattr(affinity, "accelerated", lambda: False)
    assert workers(executor, count) == expected


@pytest.mark.parametrize(("cpus", "cores", "expected"), [(2, 8, 4), (3, 8, 2), (8, 8, 0), (16, 8, 0)])
def test_workers_of_several_cores(cpus, cores, expected, monkeypatch):
    monkeypatch.setattr(affinity, "cores", lambda: list(range(cores)))
    monkeypatch.setattr(affinity, "accelerated", lambda: False)
    assert workers(Executor(), 10, cpus) == expected


def test_an_accelerator_takes_one_process_unless_asked_otherwise(monkeypatch):
    monkeypatch.setattr(affinity, "cores", lambda: [0, 1])
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(
        affinity.importlib.util, "find_spec", lambda name: name == "jax_cuda12_plugin" or None
    )
    assert workers(Executor(), 10) == 0
    assert workers(Executor(kind="processes"), 10) == 2


def test_the_jobs_an_interruption_left_run_as_those_before_it(recipe, monkeypatch):
    # A last job alone does not move into this process.
    jobs = workload.jobs(recipe, specs(3))
    for job in jobs[:2]:
        train_job.execute(job)
    pools = pretend(monkeypatch)
    executors.run(jobs, Executor(kind="processes", workers=2), silent)
    assert [(pool.size, pool.given) for pool in pools] == [(1, [jobs[2]])]
    assert workload.load(jobs[2]) is not None


# ------------------------------------------------------------------------------------------ in this process


def test_finished_jobs_are_not_repeated(recipe, monkeypatch):
    jobs = workload.jobs(recipe, specs(3))
    train_job.execute(jobs[1])
    trained = []
    execute = train_job.execute
    monkeypatch.setattr(train_job, "execute", lambda job, *rest: (trained.append(job), execute(job, *rest)))
    executors.run(jobs, IN_PROCESS, silent)
    assert trained == [jobs[0], jobs[2]]
    executors.run(jobs, IN_PROCESS, silent)
    assert len(trained) == 2
    assert all(workload.load(job) is not None for job in jobs)


def test_a_failing_job_is_named_and_the_others_finish(recipe, monkeypatch, caplog):
    jobs = workload.jobs(recipe, specs(3))
    execute = train_job.execute

    def fail(job, *rest):
        if job is jobs[1]:
            raise RuntimeError("out of memory")
        execute(job, *rest)

    monkeypatch.setattr(train_job, "execute", fail)
    with caplog.at_level(logging.CRITICAL), pytest.raises(JobsFailed) as raised:
        executors.run(jobs, IN_PROCESS, silent)
    assert str(raised.value) == f"{jobs[1].name}: RuntimeError: out of memory"
    assert [workload.load(job) is not None for job in jobs] == [True, False, True]


def test_a_signal_stops_after_the_piece_and_saves(recipe):
    jobs = workload.jobs(recipe, specs(2, steps=3000))
    before = signal.getsignal(signal.SIGTERM)
    sent = []

    def report(event):
        if not sent:
            sent.append(event)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        executors.run(jobs, IN_PROCESS, report)
    assert signal.getsignal(signal.SIGTERM) is before
    assert jobs[0].file.with_suffix(".checkpoint").exists()
    executors.run(jobs, IN_PROCESS, silent)
    assert all(workload.load(job) is not None for job in jobs)


def test_outside_the_main_thread_no_handler_is_set():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def body():
        with stop_on_signal() as stop:
            found.append((stop(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [(False, before)]


def test_two_processes_never_train_one_stage(tmp_path):
    with training_stage.locked(tmp_path, "sweep@fc"):
        with (
            pytest.raises(ValueError, match=r"^sweep@fc: another process trains it in this checkout"),
            training_stage.locked(tmp_path, "sweep@fc"),
        ):
            pass
        with training_stage.locked(tmp_path, "sweep@wrn"):
            pass
    with training_stage.locked(tmp_path, "sweep@fc"):
        pass


# ------------------------------------------------------------------------------------------ real processes


def stage(root):
    """The stage ``sweep@fc`` as DVC starts it."""
    return subprocess.Popen(
        [sys.executable, "stages/sweep.py", "fc"],
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(group):
    """Parents of the living processes of a process group, by process."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,pgid,stat"], capture_output=True, text=True).stdout
    found = {}
    for line in listed.splitlines()[1:]:
        pid, parent, own, state = line.split()
        if int(own) == group and not state.startswith("Z"):
            found[int(pid)] = int(parent)
    return found


def configure(root, epochs, kind, workers=0):
    (root / "scales" / "smoke.yaml").write_text(scale_text(3, epochs))
    text = (root / "params.yaml").read_text()
    head = text[: text.index("executor:")]
    (root / "params.yaml").write_text(f"{head}executor: {{kind: {kind}, workers: {workers}}}\n")


def finish(root):
    process = stage(root)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "sweep@fc: 3 runs" in out
    return tables.load("fc", root)


def test_processes_and_this_process_agree(samples):
    configure(samples, 200, "processes", workers=2)
    many = finish(samples)
    shutil.rmtree(samples / "work")
    configure(samples, 200, "in_process")
    one = finish(samples)
    # On one core each: several threads would add in another order than one.
    assert tables.table_bytes(one.table) == tables.table_bytes(many.table)


def test_sigterm_saves_exits_75_and_the_same_command_ends_with_the_same_bits(samples):
    configure(samples, 40_000, "processes", workers=2)
    process = stage(samples)
    folder = samples / "work" / "sweep@fc"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline and not list(folder.glob("*/*.npz")):
        time.sleep(0.02)  # until the first run has finished: then the others are under way
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == interruption.EXIT_CODE, err
    assert "stopped: " in err
    assert "Traceback" not in err
    assert not (samples / "results" / "smoke" / "fc.csv").exists()
    resumed = finish(samples)
    shutil.rmtree(samples / "work")
    whole = finish(samples)
    assert tables.table_bytes(resumed.table) == tables.table_bytes(whole.table)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are not forked")
def test_workers_are_forked_from_one_server_and_nothing_outlives_a_killed_stage(samples):
    configure(samples, 40_000, "processes", workers=2)
    with stage(samples) as process:
        folder = samples / "work" / "sweep@fc"
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline and not list(folder.glob("*/*.npz")):
            time.sleep(0.02)
        parents = members(process.pid)
        helpers = [pid for pid, parent in parents.items() if parent == process.pid]
        # The server, and multiprocessing's tracker of resources, which has no child.
        assert sorted(list(parents.values()).count(pid) for pid in helpers) == [0, 2]
        process.kill()
        deadline = time.monotonic() + 30
        while members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not members(process.pid)


def test_a_worker_that_raises_is_named_and_the_others_finish(samples):
    recipe = Recipe("sweep@fc", setup(), 4, "sample", samples)
    good = workload.jobs(recipe, specs(2))
    # A setup whose convolution does not fit its images fails when the trainer is built.
    small = {"name": "mnist", "train": 24, "test": 10, "image_size": 4}
    bad = workload.jobs(Recipe("sweep@bad", setup("cnn", data=small), 4, "sample", samples), specs(1))
    with pytest.raises(JobsFailed, match=r"^grid-eta0\.1") as raised:
        executors.run([*good, *bad], Executor(kind="processes", workers=2), silent)
    assert "\n" not in str(raised.value)
    assert [workload.load(job) is not None for job in [*good, *bad]] == [True, True, False]


def test_the_workers_that_check_a_setup_train_it(samples, monkeypatch):
    monkeypatch.setattr(pool, "kept", [])
    recipe = Recipe("sweep@fc", setup(), 4, "sample", samples)
    executor = Executor(kind="processes", workers=2)
    assert executors.check(recipe, executor) == workload.check(recipe)
    (kept,) = pool.kept
    workers = set(kept.executor._processes)
    try:
        executors.run(workload.jobs(recipe, specs(2)), executor, silent)
        assert pool.kept == [kept]
        assert workers <= set(kept.executor._processes)
        # A kept worker that dies costs a new pool, nothing else.
        for process in list(kept.executor._processes.values()):
            process.kill()
            process.join()
        executors.run(workload.jobs(recipe, specs(3)), executor, silent)
        assert all(workload.load(job) is not None for job in workload.jobs(recipe, specs(3)))
    finally:
        kept.executor.shutdown()
    with pytest.raises(ValueError, match=r"^setup\.batch: "):
        executors.check(replace(recipe, setup=recipe.setup.model_copy(update={"batch": 10**6})), executor)
    assert pool.kept == []
