"""Committed runs trained again: what counts as agreement, and one run of every committed scale."""

import os
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import synthetic
from places import ROOT

from l2dynamics import paths
from l2dynamics.experiments import scales
from l2dynamics.pipeline import verify
from l2dynamics.running import workload


@pytest.fixture
def table():
    runs = [synthetic.run_rows(eta=0.5, l2=l2, seed=0, budget=1 / l2) for l2 in (0.1, 0.01)]
    return pd.concat(runs, ignore_index=True)


def changed(table, by):
    again = table[table["l2"] == 0.1].copy()
    again.loc[again.index[-1], "test_accuracy"] += by
    again["test_accuracy"] = again["test_accuracy"].where(again.index == again.index[-1], 0.1)
    return again


def test_the_same_numbers_agree_also_where_a_run_diverged(table):
    table.loc[30:34, ["train_loss", "test_accuracy"]] = np.nan
    again = table[table["l2"] == 0.1]
    assert verify.compare(again, table, same_kind=True) == (True, "the same, bit for bit")


@pytest.mark.parametrize(
    ("by", "same_kind", "agrees"),
    [(1e-7, True, False), (0.01, False, True), (0.2, False, False), (-0.2, False, False)],
)
def test_other_numbers_agree_on_another_processor_only_and_only_if_they_are_near(
    table, by, same_kind, agrees
):
    found, words = verify.compare(changed(table, by), table, same_kind)
    assert found is agrees
    assert "best test accuracy differs by up to" in words


def test_other_evaluations_never_agree(table):
    again = table[table["l2"] == 0.1].iloc[:-1]
    assert verify.compare(again, table, same_kind=False)[0] is False


def test_jobs_are_drawn_from_the_shorter_half_of_every_sweep():
    for sweep in verify.sweeps(ROOT, "laptop"):
        everything = sorted(job.run_steps for job in workload.jobs(sweep.recipe, sweep.specs))
        (job,) = verify.chosen(sweep, 1, random.Random(0))
        assert job.run_steps <= everything[(len(everything) - 1) // 2]
        assert {spec.slug for spec in job.specs} <= set(sweep.results.table["run"])


@pytest.mark.parametrize("scale", [name for name in paths.scales(ROOT) if name != "smoke"])
def test_one_committed_run_of_every_scale_is_what_training_gives(scale, tmp_path):
    if scales.source(ROOT, scale) == "tfds" and not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("TFDS_DATA_DIR is not set: no full MNIST and CIFAR-10 here")
    shortest = min(
        (
            (sweep, job)
            for sweep in verify.sweeps(ROOT, scale)
            for job in verify.chosen(sweep, 1, random.Random())
        ),
        key=lambda pair: pair[1].run_steps * verify_cost(pair[0]),
    )
    found = verify.check(*shortest, tmp_path)
    assert found.agrees, found.words


@pytest.mark.executes(
    "l2dynamics verify --seed 0",
    "make verify",
    "docs/howto-pipeline.md#Are these results those of this code?*",
)
def test_the_command_begins_no_job_after_its_time():
    command = [sys.executable, "-m", "l2dynamics", "verify", "--seed", "0", "--minutes", "0.001"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    *jobs, last = done.stdout.splitlines()
    assert len(jobs) == 1
    assert last.startswith("verify, scale laptop: 1 of 1 jobs agree; ")


def test_nothing_begun_is_no_agreement():
    command = [sys.executable, "-m", "l2dynamics", "verify", "--minutes", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "0 of 0 jobs agree" in done.stdout


def verify_cost(sweep):
    """What a step of a sweep takes, roughly: that of a fully connected net is a hundredth of that of a convolution."""
    return 0.01 if sweep.recipe.setup.model.kind == "fc" else 1.0


@pytest.mark.parametrize("scale", [name for name in paths.scales(ROOT) if name != "smoke"])
def test_a_cheap_task_of_the_theory_is_what_the_results_say(scale, tmp_path):
    theory = verify.theory_of(ROOT, scale)
    assert theory is not None
    chosen = theory.chosen(1, random.Random())
    assert {name.partition("@")[0] for name in chosen if "@" in name} >= {
        "training",
        "finite_star",
        "decay",
        "test_loss",
    }
    (name,) = (name for name in chosen if name.startswith("decay@"))
    found = verify.check_theory(theory, name, tmp_path)
    assert (found.stage, found.job) == ("theory", name)
    assert found.agrees, found.words


@pytest.mark.parametrize(
    ("changes", "same_kind", "agrees"),
    [
        ({}, True, True),
        ({".a": 1 + 1e-12}, True, True),
        ({".a": 1 + 1e-6}, True, False),
        ({".a": 1.02}, False, True),
        ({".a": 1.2}, False, False),
        ({".c": None}, False, False),
        ({".d": False}, False, False),
        ({".e": 1.0}, False, False),
    ],
)
def test_numbers_of_the_theory_are_compared_one_by_one(changes, same_kind, agrees):
    before = {".a": 1.0, ".b.0": 3, ".c": 0.5, ".d": True}
    assert verify.compare_numbers({**before, **changes}, before, same_kind)[0] is agrees
