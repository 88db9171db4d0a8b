"""One run over several devices and several processes: the losses of one device, whoever is lost on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from places import TESTS

from l2dynamics.experiments.messages import ConfigError
from l2dynamics.running import hosts

STEPS = 24
# One run with batch norm over pairs of examples, through the executor; what the leader stored is printed.
_RUN = """
import json, os, sys, time
from l2dynamics.training import numerics
numerics.configure(cache=os.environ["CACHE"])
from pathlib import Path
import numpy as np
from small_setups import dataset, setup
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.scales import Executor
from l2dynamics.results.tables import METRICS
from l2dynamics.running import executors, hosts, interruption, workload

root, steps, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
crew = hosts.initialize()
import jax
model = sys.argv[4]
size = {"name": "cifar10", "train": 48, "test": 16, "image_size": 8 if model == "wrn" else 10}
of = setup(model, data=size, batch=16, bn_group=2, momentum=0.9, eval_batch=16)
workload.dataset = lambda recipe: dataset(recipe.setup)
interruption.CHECKPOINT_SECONDS = seconds
recipe = Recipe("sweep@test", of, 4, "sample", root)
job, = workload.jobs(recipe, [RunSpec("grid", float(sys.argv[5]), 0.01, 0, 1.0, steps / 3, steps)])
told = []
executors.run([job], Executor(kind="in_process"), told.append)
if crew.leader:
    values = workload.load(job).curves.values
    metrics = np.stack([values[name][0] for name in (*METRICS, "l2")], -1)
    done = sum(event.run_steps for event in told)
    print(json.dumps([jax.process_count(), jax.device_count(), done, metrics.tolist()]))
crew.close()
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(
    root: Path, processes: int, devices: int, *, steps=STEPS, seconds=1000.0, model="cnn_bn", eta=0.05
) -> list:
    """The processes of one run, each with so many simulated devices."""
    port, crew = free_port(), []
    for index in range(processes):
        env = {**os.environ, "JAX_PLATFORMS": "cpu", "CACHE": str(root.parent / "xla")}
        env["JAX_NUM_CPU_DEVICES"] = str(devices)  # an XLA flag would be part of the key of a run
        if processes > 1:
            env[hosts.VARIABLE] = f"127.0.0.1:{port},{processes},{index}"
        command = [sys.executable, "-c", _RUN, str(root), str(steps), str(seconds), model, str(eta)]
        pipe = subprocess.PIPE
        crew.append(subprocess.Popen(command, cwd=TESTS, env=env, stdout=pipe, stderr=pipe, text=True))
    return crew


def finish(crew: list) -> list:
    """What the leader says of a run that succeeds."""
    ended = [process.communicate(timeout=400) for process in crew]
    assert [process.returncode for process in crew] == [0] * len(crew), "\n".join(err for _, err in ended)
    return json.loads(ended[0][0].splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node1,2,0", "give auto, or HOST:PORT,PROCESSES,INDEX"),
        ("node1:6400,2", "give auto, or HOST:PORT,PROCESSES,INDEX"),
        ("node1:6400,two,0", "give auto, or HOST:PORT,PROCESSES,INDEX"),
        ("node1:6400,2,2", "the index counts from 0 to 1"),
    ],
)
def test_a_wrong_variable_is_refused_in_one_line(text, message, monkeypatch):
    monkeypatch.setenv(hosts.VARIABLE, text)
    with pytest.raises(ConfigError, match=rf"^L2DYNAMICS_DISTRIBUTED={text}: {message}[^\n]*$"):
        hosts.initialize()


def test_without_the_variable_a_process_is_alone(monkeypatch):
    monkeypatch.delenv(hosts.VARIABLE, raising=False)
    crew = hosts.initialize()
    assert (crew.size, crew.leader, crew.any(True), crew.any(False)) == (1, True, True, False)


def test_hosts_that_see_different_files_are_told(monkeypatch):
    crew = hosts.Crew()
    monkeypatch.setattr(crew, "gather", lambda value: [value, 0])
    with pytest.raises(
        OSError, match=r"^the hosts see different checkpoints \(\[7, 0\]\): work/ must lie on"
    ):
        crew.same(7, "checkpoint")


@pytest.mark.parametrize("model", ["cnn_bn", pytest.param("wrn", marks=pytest.mark.slow)])
def test_two_processes_of_four_devices_train_as_one_device(model, tmp_path):
    one = finish(start(tmp_path / "one", 1, 1, model=model))
    many = finish(start(tmp_path / "many", 2, 4, model=model))
    assert (one[:3], many[:3]) == ([1, 1, STEPS], [2, 8, STEPS])
    np.testing.assert_allclose(many[3], one[3], rtol=2e-3)


@pytest.mark.slow
def test_a_lost_process_ends_all_and_fewer_hosts_go_on_from_the_checkpoint(tmp_path):
    # With a larger η, rounding grows within so many steps until the accuracies differ.
    steps, eta = 900, 0.002
    one = finish(start(tmp_path / "one", 1, 1, steps=steps, eta=eta))
    root = tmp_path / "many"
    crew = start(root, 2, 4, steps=steps, seconds=1.0, eta=eta)
    deadline = time.monotonic() + 300
    # orbax renames a checkpoint to its step when it is complete.
    while (
        not [f for f in root.glob("work/*/*/*.orbax/*") if f.name.isdigit()] and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    crew[1].send_signal(signal.SIGKILL)
    leader = crew[0]
    _, err = leader.communicate(timeout=4 * hosts.HEARTBEAT_SECONDS)
    assert leader.returncode != 0, err
    crew[1].communicate()
    (folder,) = root.glob("work/*/*/*.orbax")
    # Each array was written once, by the leader.
    assert not [file for file in folder.rglob("ocdbt.process_1/**/*") if file.is_file()]
    many = finish(start(root, 1, 8, steps=steps, eta=eta))
    assert many[:2] == [1, 8]
    assert many[2] < steps  # it did not begin anew
    assert not folder.exists()
    np.testing.assert_allclose(many[3], one[3], rtol=2e-3)
