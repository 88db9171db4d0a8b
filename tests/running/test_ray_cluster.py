"""The Ray executor: the same bits as in this process, whatever happens to workers, nodes and the driver."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT
from small_sweep import scale_text

from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.scales import Executor, load_params
from l2dynamics.experiments.schema import Resources
from l2dynamics.results import machine, tables
from l2dynamics.running import affinity, interruption, ray_cluster, workload
from l2dynamics.running.events import Event
from l2dynamics.running.progress import StageProgress
from l2dynamics.storage import archives

#: Epochs of a run that lasts several checkpoints of 3 s, also where a step takes 36 microseconds.
LONG = 300_000
# Another test of this process may have imported jax; what Ray forks executes Ray's programs alone.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
# The stage as DVC starts it; in the end the driver says whether it has imported jax.
_DRIVER = """
import runpy, sys
sys.argv = ["stages/sweep.py", "fc"]
sys.path.insert(0, "stages")
code = 0
try:
    runpy.run_path("stages/sweep.py", run_name="__main__")
except SystemExit as end:
    code = end.code
print("jax" in sys.modules)
sys.exit(code)
"""


def checkout(folder: Path, seeds: int, epochs: int) -> Path:
    """A checkout with the sample data and one small sweep, without anything computed."""
    for name in ("data", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text("scale: smoke\nseed: 0\ndata: {source: sample}\n")
    (folder / "scales").mkdir()
    text = scale_text(seeds, epochs)
    (folder / "scales" / "smoke.yaml").write_text(text)
    return folder


def start(root: Path, executor: str, address: str = "") -> subprocess.Popen:
    """The stage ``sweep@fc`` under an executor."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {
        "L2DYNAMICS_ROOT": str(root),
        "L2DYNAMICS_TRACKING": "off",
        "L2DYNAMICS_EXECUTOR": executor,
        "L2DYNAMICS_CHECKPOINT_SECONDS": "3",
    }
    env |= {"RAY_ADDRESS": address} if address else {}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", _DRIVER], cwd=root, env=env, stdout=pipe, stderr=pipe, text=True
    )


def finish(driver: subprocess.Popen, root: Path) -> tuple[str, bytes]:
    """What a driver that succeeds has said, and the table it has written."""
    out, err = driver.communicate(timeout=500)
    assert driver.returncode == 0, err
    results = tables.load("fc", root)
    runs = results.table["run"]
    assert results.passport["runs"] == runs.nunique()
    assert not results.table.duplicated(["run", "step"]).any()
    return out, tables.table_bytes(results.table)


def expected(root: Path) -> bytes:
    """The table of a run in this one process, from the beginning."""
    shutil.rmtree(root / "work")
    (root / "results" / "smoke" / "fc.csv").unlink()
    return finish(start(root, "in_process"), root)[1]


def wait_for(condition, seconds: float = 400.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


# ------------------------------------------------------------------------------------------ without a cluster


def test_a_job_that_is_repeated_counts_once():
    job = workload.Job(None, (Spec(100),), Path("folder"))
    seen = []
    ledger = ray_cluster._Ledger([job], seen.append)
    for steps in (0, 60, 0, 60):  # the second 60 after its worker was lost
        ledger.progress(Event("run", steps, 0.5, 0.1, False))
    ledger.end(job)
    assert [event.run_steps for event in seen] == [0, 60, 0, 40, 0]
    assert [event.finished for event in seen] == [False] * 4 + [True]


class Spec:
    """As much of a run as a ledger looks at."""

    def __init__(self, steps: int) -> None:
        self.steps, self.slug = steps, "run"


def test_one_line_for_the_whole_cluster():
    progress = StageProgress("sweep@fc", 10, 1000, 2)
    for job, runs in (("a", 3), ("b", 1), ("c", 1)):
        progress(Event(job, 0, math.nan, math.nan, False, runs))
    assert "2/10 runs, 5 running, 0 steps/s" in progress._status()
    progress(Event("a", 300, 0.75, 0.01, True, 3))
    progress(Event("b", 0, math.nan, math.nan, False, 1, True))
    assert progress._status().startswith("5/10 runs, 1 running, 1 failed, ")
    assert progress._status().endswith("steps/s, best 0.750, λ 0.01")


@pytest.mark.parametrize(
    ("text", "kind", "workers"),
    [("ray", "ray", 0), ("processes:3", "processes", 3), ("in_process", "in_process", 0)],
)
def test_the_environment_chooses_the_executor(text, kind, workers, monkeypatch):
    monkeypatch.setenv("L2DYNAMICS_EXECUTOR", text)
    assert load_params(ROOT).executor == Executor(kind=kind, workers=workers)


@pytest.mark.parametrize("text", ["slurm", "ray:many", "ray:-1", ":2"])
def test_an_unknown_executor_is_refused_in_one_line(text, monkeypatch):
    monkeypatch.setenv("L2DYNAMICS_EXECUTOR", text)
    with pytest.raises(ConfigError, match=rf"^L2DYNAMICS_EXECUTOR={text}: (kind|workers): [^\n]*$"):
        load_params(ROOT)


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [(0, {"JAX_PLATFORMS": "cpu"}), (0.25, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.225"}), (8, {})],
)
def test_what_a_worker_takes_from_the_driver(gpus, expected, monkeypatch):
    for name in [name for name in os.environ if name.startswith(ray_cluster._VARIABLES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XLA_FLAGS", "--a=1")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setenv("L2DYNAMICS_DISTRIBUTED", "auto")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert ray_cluster._environment(Resources(gpus=gpus)) == {"XLA_FLAGS": "--a=1", **expected}


def test_a_job_takes_whole_gpus_or_a_part_of_one():
    assert Resources(gpus=0.5).gpus == 0.5
    with pytest.raises(ValueError, match=r"gpus: 1.5: a job takes a fraction of one GPU or whole ones"):
        Resources(gpus=1.5)


def test_cores_are_claimed_until_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(affinity, "cores", lambda: [2, 3, 5])
    first, locks = affinity._claim(2, tmp_path)
    second, more = affinity._claim(2, tmp_path)
    assert first == [2, 3]
    assert second[0] == 5
    assert len(set(second)) == 2
    for lock in locks + more:
        os.close(lock)
    third, locks = affinity._claim(1, tmp_path)
    assert third == [2]
    os.close(*locks)


@pytest.mark.skipif(sys.platform != "linux", reason="no affinity")
def test_a_pinned_block_ends_where_it_began():
    before = os.sched_getaffinity(0)
    with affinity.pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"^executor.kind: ray needs Ray: pip install "),
        ray_cluster._cluster(),
    ):
        pass


# ------------------------------------------------------------------------------------------ on a cluster


@pytest.fixture
def cluster():
    """A head without cores, to which tests add nodes of one core."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_sweep_on_ray_has_the_bits_of_this_process_and_the_driver_has_no_jax(tmp_path):
    pytest.importorskip("ray")
    root = checkout(tmp_path / "checkout", seeds=2, epochs=300)
    out, table = finish(start(root, "ray"), root)
    assert out.splitlines()[-1] == "False"
    assert (
        json.loads((root / "results" / "smoke" / "fc.json").read_text())["device"]
        == f"cpu: {machine.processor()}"
    )
    assert table == expected(root)


def add_node(cluster, cores: int):
    """A further node; on a machine that is busy Ray gives up on some of them."""
    for _ in range(4):
        try:
            return cluster.add_node(num_cpus=cores)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    pytest.fail("no node started within two minutes")


def checkpointed(root: Path) -> list[Path]:
    return list((root / "work").glob("sweep@fc/*/*.checkpoint"))


def stored(root: Path) -> list[Path]:
    return [file for file in (root / "work").glob("sweep@fc/*/*.npz") if file.name != "wall.npz"]


def trainers() -> list[int]:
    """Processes of tasks that train, youngest first; Ray shows the task in the process title."""
    found = subprocess.run(["pgrep", "-n", "-f", "^ray::train"], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.slow
def test_lost_nodes_and_workers_change_no_bit(cluster, tmp_path):
    root = checkout(tmp_path / "checkout", seeds=5, epochs=LONG)
    doomed = add_node(cluster, 1)
    driver = start(root, "ray", cluster.address)
    wait_for(lambda: checkpointed(root))
    cluster.remove_node(doomed, allow_graceful=False)  # in the middle of a run
    add_node(cluster, 2)
    wait_for(lambda: len(stored(root)) == 1)
    wait_for(trainers)
    os.kill(trainers()[0], signal.SIGKILL)
    out, table = finish(driver, root)
    assert out.splitlines()[-1] == "False"
    assert len(stored(root)) == 5
    assert table == expected(root)


@pytest.mark.slow
def test_a_killed_driver_goes_on_where_it_was(cluster, tmp_path):
    root = checkout(tmp_path / "checkout", seeds=3, epochs=LONG)
    add_node(cluster, 2)
    driver = start(root, "ray", cluster.address)
    wait_for(lambda: checkpointed(root))
    driver.kill()
    driver.communicate()
    begun = checkpointed(root)[0]
    assert archives.load(begun)[1]["step"] > 0
    again = start(root, "ray", cluster.address)
    _, table = finish(again, root)
    assert table == expected(root)


@pytest.mark.slow
def test_sigterm_saves_what_the_cluster_trains(cluster, tmp_path):
    root = checkout(tmp_path / "checkout", seeds=4, epochs=LONG)
    add_node(cluster, 2)
    driver = start(root, "ray", cluster.address)
    wait_for(lambda: trainers() and list((root / "work").glob("sweep@fc/*")))
    time.sleep(10)
    driver.send_signal(signal.SIGTERM)
    _, err = driver.communicate(timeout=200)
    assert driver.returncode == interruption.EXIT_CODE, err
    assert "Traceback" not in err
    assert not (root / "results" / "smoke" / "fc.csv").exists()
    assert checkpointed(root)
    _, table = finish(start(root, "ray", cluster.address), root)
    assert table == expected(root)


def test_no_cluster_at_the_address_is_one_line(tmp_path):
    pytest.importorskip("ray")
    root = checkout(tmp_path / "checkout", seeds=1, epochs=1)
    driver = start(root, "ray", "127.0.0.1:9")
    _, err = driver.communicate(timeout=200)
    assert (driver.returncode, err.count("\n")) == (2, 1), err
    assert err.startswith("error: RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers there: start it or unset")
