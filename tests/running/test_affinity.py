"""How many cores a stage takes, and which: quotas of containers, and stages side by side."""

import math
import multiprocessing
import os

import pytest

from l2dynamics.running import affinity


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "350000 100000\n"}, 3.5),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "nonsense"}, math.inf),
        ({}, math.inf),
    ],
)
def test_cores_are_those_that_the_quota_pays_for(files, quota, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(affinity, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert affinity.cores() == list(range(8))[: 8 if math.isinf(quota) else max(1, math.floor(quota))]


def _pin(answers, done):
    affinity.pin(1)
    answers.put(os.sched_getaffinity(0))
    done.wait(60)


@pytest.mark.skipif(len(affinity.cores()) < 2, reason="needs two cores")
def test_workers_of_stages_side_by_side_take_different_cores(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # apart from the other tests' claims
    context = multiprocessing.get_context("spawn")
    answers, done = context.Queue(), context.Event()
    stages = [context.Process(target=_pin, args=(answers, done)) for _ in range(2)]
    for stage in stages:
        stage.start()
    taken = [answers.get(timeout=60) for _ in stages]
    done.set()
    for stage in stages:
        stage.join()
    assert [len(cores) for cores in taken] == [1, 1]
    assert taken[0] != taken[1]
