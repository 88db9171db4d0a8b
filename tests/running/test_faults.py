"""Full disks, full memory, dead workers, damaged files, wrong clocks: a sweep loses nothing by them and says so."""

import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from places import ROOT
from pretended_workers import pretend
from small_setups import dataset, setup

from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.scales import Executor
from l2dynamics.pipeline import clean, training_stage
from l2dynamics.results import keys, tables
from l2dynamics.running import clock, executors, interruption, train_job, workload
from l2dynamics.storage import archives, atomic

IN_PROCESS = Executor(kind="in_process")
TWO_PROCESSES = Executor(kind="processes", workers=2)
STEPS = 12


class Toy:
    """A trainer in place of the compiled one, which takes seconds to make: gradient descent on one weight a run."""

    steps_per_epoch = 3
    mesh = None
    largest = 100
    """Number of runs that fit into the memory at once."""

    def init(self, hyper):
        return {"w": np.float32(hyper.sigma_w) * (1 + np.float32(hyper.seed))}

    def advance(self, state, hyper, start, stop):
        if state["w"].size > Toy.largest:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes.")
        w = state["w"]
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(start, stop):
                w = w - np.float32(hyper.eta) * (np.sin(w * step) + np.float32(hyper.l2) * w)
        return {"w": w}

    def evaluate(self, state, hyper):
        with np.errstate(over="ignore", invalid="ignore"):
            loss, accuracy = np.square(state["w"]), np.cos(state["w"]) ** 2
        measured = {f"{split}_loss": loss for split in ("train", "test")}
        measured |= {f"{split}_accuracy": accuracy for split in ("train", "test")}
        measured |= {"l2_norm": np.abs(state["w"]), "l2": self.l2(state, hyper)}
        measured |= dict.fromkeys(tables.BLOCKS, np.floor(accuracy))
        return {name: np.asarray(value, np.float64) for name, value in measured.items()}

    def l2(self, state, hyper):
        return np.asarray(hyper.l2)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Random images in place of the samples, the toy in place of the trainer, stops after every few steps."""

    def trainer(recipe, measure, clock, bucket):
        return Toy()

    trainer.cache_clear = lambda: None
    monkeypatch.setattr(Toy, "largest", Toy.largest)
    monkeypatch.setattr(train_job, "_trainer", trainer)
    monkeypatch.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup))
    monkeypatch.setattr(clock.Clock, "target_seconds", 0.0)


def spec(seed=0, eta=0.1, l2=0.01, steps=STEPS):
    return RunSpec("grid", eta, l2, seed, 1.4, steps / 3, steps)


def recipe(root, bucket=1):
    return Recipe("sweep@test", setup(), 4, "sample", Path(root), None, bucket)


def silent(event):
    """No progress."""


def results(jobs):
    """The metrics of every finished job, ``[runs, evaluations, 6]``."""
    finished = [found for job in jobs if (found := workload.load(job)) is not None]
    return [
        np.stack([found.curves.values[name] for name in (*tables.METRICS, "l2")], -1) for found in finished
    ]


# ------------------------------------------------------------------------------------------------- the memory


def test_a_bucket_too_large_for_the_memory_goes_on_in_halves(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Toy, "largest", 2)
    specs = [spec(seed) for seed in range(5)]
    (job,) = workload.jobs(recipe(tmp_path, bucket=5), specs)
    events = []
    train_job.execute(job, events.append)
    said = [r.getMessage() for r in caplog.records]
    assert [text.partition("going on with ")[2] for text in said] == ["2 runs at once", "1 runs at once"]
    assert all(text.startswith("grid-eta0.1") and "RESOURCE_EXHAUSTED" in text for text in said)
    assert sum(event.run_steps for event in events) == job.run_steps
    assert [event.finished for event in events].count(True) == 1
    assert {event.job for event in events} == {job.name}
    assert sorted(file.suffix for file in job.folder.iterdir()) == [".npz"], "nothing else is left"
    (found,) = results([job])
    assert found.shape == (5, len(workload.load(job).curves.steps), 6)
    alone = workload.jobs(recipe(tmp_path / "alone"), specs)
    for one in alone:
        train_job.execute(one)
    np.testing.assert_array_equal(found, np.concatenate(results(alone)))


def test_a_bucket_of_convolutional_nets_is_refused_in_a_line(tmp_path):
    wide = replace(recipe(tmp_path, bucket=2), setup=setup(model="cnn"))
    with pytest.raises(ConfigError, match=r"^sweep@test: bucket: 2: only fc nets train side by side; use 1$"):
        workload.jobs(wide, [spec()])


def test_a_halved_bucket_that_is_stopped_goes_on_in_halves_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "largest", 2)
    (job,) = workload.jobs(recipe(tmp_path, bucket=4), [spec(seed) for seed in range(4)])
    train_job.execute(job)
    (expected,) = results([job])
    job.file.unlink()
    for questions in (3, 13, 5):
        asked = iter(range(questions))
        with pytest.raises(interruption.Interrupted):
            train_job.execute(job, stop=lambda asked=asked: next(asked, None) is None)
    monkeypatch.setattr(Toy, "largest", 4)  # there is room again, but what was begun in halves ends in halves
    train_job.execute(job)
    np.testing.assert_array_equal(results([job])[0], expected)


def test_one_run_too_large_for_the_memory_fails_and_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Toy, "largest", 0)
    jobs = workload.jobs(recipe(tmp_path, bucket=2), [spec(), spec(1)])
    with caplog.at_level(logging.CRITICAL), pytest.raises(executors.JobsFailed, match="RESOURCE_EXHAUSTED"):
        executors.run(jobs, IN_PROCESS, silent)


@pytest.mark.parametrize("hungry", [[2], [0, 4]])
def test_jobs_whose_worker_is_killed_are_tried_alone_then_halved_then_named(tmp_path, monkeypatch, hungry):
    """The system kills a worker without saying for which job; those of more than one run get a second chance."""
    jobs = workload.jobs(
        recipe(tmp_path, bucket=4), [spec(i, steps=30 - j) for j in range(5) for i in range(1 + j % 2)]
    )
    assert [len(job.specs) for job in jobs] == [2, 2, 1, 1, 1]
    culprits = [jobs[i] for i in hungry]
    pools = pretend(
        monkeypatch,
        kills=lambda job: job in culprits and not (len(job.specs) > 1 and workload.halved(job).exists()),
    )
    alone = [job for job in culprits if len(job.specs) == 1]
    if alone:
        with pytest.raises(executors.JobsFailed, match="its worker process died again") as raised:
            executors.run(jobs, TWO_PROCESSES, silent)
        assert [line.split(":")[0] for line in str(raised.value).split("; ")] == [job.name for job in alone]
    else:
        executors.run(jobs, TWO_PROCESSES, silent)
    assert [job for job in jobs if workload.load(job) is None] == alone
    assert {pool.size for pool in pools if len(pool.given) > 1} == {2}
    assert {len(pool.given) for pool in pools if pool.size == 1} == {1}


def test_what_a_pool_that_breaks_had_is_repeated_and_nothing_else(tmp_path, monkeypatch):
    jobs = workload.jobs(recipe(tmp_path), [spec(seed) for seed in range(4)])
    deaths = iter([jobs[2]])
    pools = pretend(monkeypatch, kills=lambda job: job is jobs[2] and next(deaths, None) is not None)
    executors.run(jobs, TWO_PROCESSES, silent)
    # With the third job the second was at work; which of them was killed, nobody knows.
    assert [pool.given for pool in pools] == [jobs, [jobs[1]], [jobs[2]], [jobs[3]]]
    assert all(workload.load(job) is not None for job in jobs)


def test_a_pool_that_breaks_while_a_stop_is_asked_for_is_not_repeated(tmp_path, monkeypatch):
    jobs = workload.jobs(recipe(tmp_path), [spec(seed) for seed in range(3)])

    def kill(job):
        if job is jobs[1]:
            os.kill(os.getpid(), signal.SIGTERM)
        return job is jobs[1]

    pools = pretend(monkeypatch, kills=kill)
    with pytest.raises(interruption.Interrupted):
        executors.run(jobs, TWO_PROCESSES, silent)
    assert [pool.given for pool in pools] == [jobs]


# ---------------------------------------------------------------------------------------------------- the disk


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_ends_the_sweep_with_one_error_and_nothing_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "CHECKPOINT_SECONDS", 0.0)
    jobs = workload.jobs(recipe(tmp_path / "whole"), [spec(seed) for seed in range(3)])
    executors.run(jobs, IN_PROCESS, silent)
    expected = results(jobs)

    jobs = workload.jobs(recipe(tmp_path), [spec(seed) for seed in range(3)])
    fsync = os.fsync
    for writes in (1, 4, 9):  # while checkpointing the first run, and later ones
        left = iter(range(writes))
        with monkeypatch.context() as context:
            context.setattr(
                os, "fsync", lambda file, left=left: full() if next(left, None) is None else fsync(file)
            )
            with pytest.raises(OSError, match=r"No space left.*what was saved before is intact") as raised:
                executors.run(jobs, IN_PROCESS, silent)
        assert raised.value.errno == errno.ENOSPC
        assert not list(tmp_path.rglob("*.tmp"))
    executors.run(jobs, IN_PROCESS, silent)
    for found, wanted in zip(results(jobs), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_full_disk_in_a_worker_stops_the_other_workers(tmp_path, monkeypatch):
    jobs = workload.jobs(recipe(tmp_path), [spec(seed) for seed in range(4)])
    full_disk = OSError(errno.ENOSPC, "cannot write", "a.npz")
    pools = pretend(monkeypatch, fails=lambda job: full_disk if job is jobs[0] else None)
    with pytest.raises(OSError, match="cannot write"):
        executors.run(jobs, TWO_PROCESSES, silent)
    assert [pool.stopped_at_the_end for pool in pools] == [True]
    assert not any(workload.load(job) for job in jobs), "the jobs that had not begun were called back"


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the MNIST sample, its manifest and a small sweep."""
    root = tmp_path / "checkout"
    for folder in ("data/sample/mnist", "stages"):
        shutil.copytree(ROOT / folder, root / folder)
    for file in ("dvc.yaml", "params.yaml", "data/manifests/sample/mnist.json", "data/sample/SHA256SUMS"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    text = (root / "params.yaml").read_text()
    text = text.replace("scale: laptop", "scale: smoke").replace("kind: auto", "kind: in_process")
    (root / "params.yaml").write_text(text)
    (root / "scales").mkdir()
    (root / "scales" / "smoke.yaml").write_text(
        "fc:\n"
        "  setup:\n"
        "    data: {name: mnist, train: 64, test: 64, image_size: 7}\n"
        "    model: {kind: fc, depth: 2, width: 16}\n"
        "    batch: 64\n"
        "    sigma_w: 1.4\n"
        "    eval_batch: 64\n"
        "  evaluations_per_decade: 6\n"
        "  grids:\n"
        "    - {eta: [0.5], l2: [0.01], seeds: 2, length: {epochs: 50}}\n"
    )
    return root


def stage(root, *words, prefix=(), name="sweep.py", **options):
    environment = {**os.environ, "L2DYNAMICS_ROOT": str(root), "L2DYNAMICS_TRACKING": "off"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*prefix, sys.executable, f"stages/{name}", *(words or ("fc",))],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def contents(root):
    return {file: file.read_bytes() for file in root.rglob("*") if file.is_file() and "xla" not in file.parts}


def test_a_stage_on_a_full_disk_says_so_in_one_line_and_goes_on_when_there_is_room(checkout):
    # The system itself refuses the write, as on a full disk, of every file beyond 900 bytes.
    small_disk = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = stage(checkout, prefix=(sys.executable, "-c", small_disk))
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "cannot write (File too large); what was saved before is intact" in lines[0]
    assert "Traceback" not in done.stderr, done.stderr
    assert not (checkout / "results").exists()
    again = stage(checkout)
    assert again.returncode == 0, again.stderr
    assert tables.load("fc", checkout).passport["status"] == "done"


def test_a_read_only_checkout_is_one_line(checkout):
    prefix = ()
    if os.geteuid() == 0:  # root writes anywhere unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv cannot be kept from writing")
        prefix = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps=-all")
    folders = [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        before = contents(checkout)
        done = stage(checkout, prefix=prefix)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: [Errno 13] Permission denied: ")
        assert "Traceback" not in done.stderr, done.stderr
        assert contents(checkout) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


# --------------------------------------------------------------------------------------- damaged files, failing runs


def test_damaged_finished_runs_are_repeated_to_the_same_bits_and_said(tmp_path, monkeypatch, caplog):
    jobs = workload.jobs(recipe(tmp_path), [spec(seed) for seed in range(3)])
    executors.run(jobs, IN_PROCESS, silent)
    expected = results(jobs)
    content = bytearray(jobs[1].file.read_bytes())
    content[len(content) // 2] ^= 1
    jobs[1].file.write_bytes(content)
    jobs[2].file.write_bytes(jobs[2].file.read_bytes()[:100])
    trained = []
    execute = train_job.execute
    monkeypatch.setattr(train_job, "execute", lambda job, *rest: (trained.append(job), execute(job, *rest)))
    executors.run(jobs, IN_PROCESS, silent)
    assert trained == jobs[1:]
    for job in jobs[1:]:
        assert f"{job.file.name} is damaged" in caplog.text
    for found, wanted in zip(results(jobs), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_failing_run_alone_is_repeated_by_the_next_call(tmp_path, monkeypatch, caplog):
    jobs = workload.jobs(recipe(tmp_path), [spec(seed) for seed in range(3)])
    execute, trained = train_job.execute, []

    def fail_once(job, *rest):
        trained.append(jobs.index(job))
        if trained == [0, 1]:
            raise RuntimeError("a bug\nof two lines")
        execute(job, *rest)

    monkeypatch.setattr(train_job, "execute", fail_once)
    with caplog.at_level(logging.CRITICAL), pytest.raises(executors.JobsFailed) as raised:
        executors.run(jobs, IN_PROCESS, silent)
    assert str(raised.value) == f"{jobs[1].name}: RuntimeError: a bug of two lines"
    executors.run(jobs, IN_PROCESS, silent)
    assert trained == [0, 1, 2, 1]


def test_runs_that_diverge_or_stay_at_chance_level_are_recorded(tmp_path):
    specs = [spec(eta=1e30), spec(1, l2=9.0), spec(2)]  # λ = 9 and η = 0.1 shrink the weights to nothing
    jobs = workload.jobs(recipe(tmp_path), specs)
    executors.run(jobs, IN_PROCESS, silent)
    head = workload.header("test", "smoke", recipe(tmp_path), {})
    found = workload.results(head, [workload.load(job) for job in jobs], specs, 1.0)
    assert (found.passport["status"], found.passport["runs"], found.passport["diverged"]) == ("done", 3, 1)
    assert set(found.table["run"]) == {one.slug for one in specs}
    last = found.table.groupby("run").tail(1).set_index("run")
    assert np.isnan(last.loc[specs[0].slug, "test_loss"])
    assert last.loc[specs[1].slug, "l2_norm"] < 1e-2


# ------------------------------------------------------------------------------------------------- clocks and locks


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    jobs = workload.jobs(recipe(tmp_path / "steady"), [spec()])
    executors.run(jobs, IN_PROCESS, silent)
    expected = results(jobs)
    now, jumps = time.time, iter([3e8, -3e8] * 10_000)
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    jobs = workload.jobs(recipe(tmp_path), [spec()])
    executors.run(jobs, IN_PROCESS, silent)
    np.testing.assert_array_equal(results(jobs)[0], expected[0])
    assert 0 < workload.load(jobs[0]).seconds < 300


@pytest.mark.parametrize("name", ["sweep.py", "theory.py"])
def test_a_second_process_on_a_stage_is_refused_in_one_line(checkout, name):
    if name == "theory.py":
        pytest.importorskip("diffrax")
        shutil.copy(ROOT / "scales/smoke.yaml", checkout / "scales/smoke.yaml")
    held = "theory" if name == "theory.py" else "sweep@fc"
    with training_stage.locked(checkout, held):
        done = stage(checkout, *(["fc"] if held == "sweep@fc" else []), name=name)
    assert done.returncode == 2
    assert (
        done.stderr == f"error: {held}: another process trains it in this checkout; wait for it or stop it\n"
    )
    assert not (checkout / "results").exists()


def test_an_edited_trainer_or_other_data_begin_anew(tmp_path, monkeypatch):
    (job,) = workload.jobs(recipe(tmp_path), [spec()])
    asked = iter(range(5))
    with pytest.raises(interruption.Interrupted):
        train_job.execute(job, stop=lambda: next(asked, None) is None)
    old = job.file.with_suffix(".checkpoint").read_bytes()
    with monkeypatch.context() as context:
        context.setattr(keys, "code_key", lambda *modules: "edited")
        (edited,) = workload.jobs(recipe(tmp_path), [spec()])
    with monkeypatch.context() as context:
        context.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup, seed=1))
        (other,) = workload.jobs(recipe(tmp_path), [spec()])
    for fresh in (edited, other):
        events = []
        train_job.execute(fresh, events.append)
        assert sum(event.run_steps for event in events) == STEPS, "every step, from the first on"
    assert job.file.with_suffix(".checkpoint").read_bytes() == old


def test_what_killed_writers_left_is_removed_by_the_next_call(tmp_path):
    folder = tmp_path / "work" / "sweep@fc" / "key"
    folder.mkdir(parents=True)
    (folder / ".run.npz.123.tmp").write_bytes(b"half")
    (folder / "run.npz").write_bytes(b"whole")
    with training_stage.locked(tmp_path, "sweep@fc"):
        assert [file.name for file in folder.iterdir()] == ["run.npz"]
    (tmp_path / f".fc.csv.{2**22 + 1}.tmp").write_bytes(b"half")
    (tmp_path / f".fc.csv.{os.getppid()}.tmp").write_bytes(b"of a living process")
    atomic.replace(tmp_path / "fc.csv", b"whole")
    assert sorted(file.name for file in tmp_path.glob("*fc.csv*")) == [
        f".fc.csv.{os.getppid()}.tmp",
        "fc.csv",
    ]


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_bad_checkpoint_interval_is_one_line(text, monkeypatch):
    monkeypatch.setenv(interruption.CHECKPOINT_VARIABLE, text)
    with pytest.raises(
        ValueError, match=rf"^L2DYNAMICS_CHECKPOINT_SECONDS is '{text}': give a number of seconds"
    ):
        interruption.checkpoint_seconds()
    monkeypatch.setenv(interruption.CHECKPOINT_VARIABLE, "3")
    assert interruption.checkpoint_seconds() == 3.0


# ------------------------------------------------------------------------------------------------------------ clean


@pytest.fixture
def leftovers(tmp_path, monkeypatch):
    for file in ("dvc.yaml", "params.yaml"):
        (tmp_path / file).touch()
    monkeypatch.setenv("L2DYNAMICS_ROOT", str(tmp_path))
    archives.save(tmp_path / "work/sweep@fc/key/run.npz", {"x": np.zeros(250_000)}, {})
    archives.save(tmp_path / "work/theory/key/part.npz", {}, {})
    (tmp_path / "work/note.txt").write_text("a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (tmp_path / "work/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "results/smoke").mkdir(parents=True)
    (tmp_path / "results/smoke/fc.csv").touch()
    return tmp_path


def test_clean_shows_and_asks_before_it_deletes(leftovers, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(clean.Confirm, "ask", lambda question: asked.append(question))
    clean.clean_command(yes=False, as_json=False)
    assert len(asked) == 1
    out = capsys.readouterr().out
    assert "work/sweep@fc: 2.0 MB" in out
    assert "work/theory: 0.0 MB" in out
    assert (leftovers / "work/sweep@fc/key/run.npz").exists()

    def closed(question):
        raise EOFError

    monkeypatch.setattr(clean.Confirm, "ask", closed)
    with pytest.raises(ConfigError, match="--yes"):
        clean.clean_command(yes=False, as_json=False)
    capsys.readouterr()
    clean.clean_command(yes=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["deleted"] is False
    assert (leftovers / "work/sweep@fc/key/run.npz").exists()
    (leftovers / "work/sweep@fc/.lock").touch()
    with (leftovers / "work/sweep@fc/.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="a process trains it"):
            clean.clean_command(yes=True, as_json=True)
    assert capsys.readouterr().out == ""
    clean.clean_command(yes=True, as_json=False)
    assert list((leftovers / "work").iterdir()) == []
    assert (leftovers / "elsewhere/kept").exists()
    assert (leftovers / "results/smoke/fc.csv").exists()
    clean.clean_command(yes=True, as_json=False)
    assert "work/ holds nothing" in capsys.readouterr().out


def test_clean_leaves_what_is_being_trained(leftovers):
    with (
        training_stage.locked(leftovers, "sweep@fc"),
        pytest.raises(ConfigError, match=r"^work/sweep@fc: a process trains it"),
    ):
        clean.clean_command(yes=True, as_json=False)
    assert (leftovers / "work/theory/key/part.npz").exists()
