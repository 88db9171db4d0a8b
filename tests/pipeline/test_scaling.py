"""The schedule against cases that one can pack by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from l2dynamics.pipeline.scaling import Task, makespan, schedule


@pytest.mark.parametrize(
    ("lengths", "workers", "expected"),
    [
        ([], 4, 0),
        ([5], 4, 5),
        ([1] * 8, 4, 2),
        ([7, 1, 1, 1, 1, 1, 1, 1], 2, 7),
        ([3, 3, 2, 2, 2], 2, 7),  # Graham's case: the best packing takes 6
        ([4, 3, 2, 1], 1, 10),
    ],
)
def test_longest_first(lengths, workers, expected):
    tasks = [Task("a", seconds, 1) for seconds in reversed(lengths)]
    assert makespan(tasks, workers) == expected


@pytest.mark.parametrize(
    ("tasks", "workers", "expected"),
    [
        ([(4, 8), (4, 8)], 8, 8),
        ([(4, 8), (4, 8)], 16, 4),
        ([(4, 8)], 4, 8),  # on half the accelerators twice as long
        ([(6, 1), (4, 2)], 2, 10),  # the wide one waits until both are free
        ([(6, 1), (4, 2)], 3, 6),
    ],
)
def test_jobs_of_several_accelerators(tasks, workers, expected):
    assert makespan([Task("a", *task) for task in tasks], workers) == expected


def test_every_task_pays_the_overhead_and_every_stage_its_tail():
    tasks = [Task("a", 3, 1), Task("a", 1, 1), Task("b", 2, 1)]
    assert makespan(tasks, 1, overhead=10) == 36
    assert schedule(tasks, 2) == (3, 1.0)
    assert schedule(tasks, 2, one_by_one=True) == (5, 0.6)


def test_a_schedule_is_between_its_bounds():
    rng = np.random.default_rng(0)
    tasks = [Task("a", seconds, 1) for seconds in rng.lognormal(0, 2, 200)]
    total, longest = sum(task.seconds for task in tasks), max(task.seconds for task in tasks)
    for workers in (1, 3, 8, 64, 512):
        found = schedule(tasks, workers)
        best = max(total / workers, longest)
        assert best * (1 - 1e-9) <= found.makespan <= best * 4 / 3
        assert found.efficiency == pytest.approx(total / workers / found.makespan)


def test_the_page_on_clusters_has_the_simulated_table_of_the_present_scale():
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("scaling_figure", root / "scripts" / "scaling_figure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said, lines, _, _ = module.simulated(root)
    page = (root / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert "\n".join(lines) in page
    jobs, hours = said.split()[0], said.split()[2]
    assert f"the {jobs} jobs" in page
    assert f"The work of {hours} hours" in page
