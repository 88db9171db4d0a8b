"""Jobs that are interrupted and resumed end bit-identical; keys, tables and passports."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_setups import dataset, setup

from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.scales import Params
from l2dynamics.experiments.schema import FIRST_EVALUATION, Controller, Sweep
from l2dynamics.results import keys, machine, tables
from l2dynamics.running import clock, interruption, train_job, workload
from l2dynamics.running.interruption import Interrupted
from l2dynamics.running.workload import Finished
from l2dynamics.storage import archives
from l2dynamics.training import evaluation
from l2dynamics.training.curves import table

STEPS = 24


@pytest.fixture(autouse=True)
def data(monkeypatch):
    """Random images in place of the samples; pieces of a few steps, so that a run can be stopped inside."""
    monkeypatch.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup))
    monkeypatch.setattr(clock.Clock, "target_seconds", 0.0)
    train_job._trainer.cache_clear()


def recipe(root, model="fc", controller=None, bucket=1, **changes):
    return Recipe("sweep@test", setup(model, **changes), 6, "sample", Path(root), controller, bucket)


def spec(seed=0, eta=0.1, l2=0.01, steps=STEPS, group="grid"):
    return RunSpec(group, eta, l2, seed, 1.4, steps / 3, steps)


def auto(seed=0, eta=1.0, measure="minibatch", group="grid"):
    """A run of AutoL2 from λ₀ = 0.5."""
    return RunSpec(group, eta, None, seed, 1.4, STEPS / 3, STEPS, measure, 0.5)


def values(found):
    """The six metrics of a finished job as an array ``[runs, evaluations, 6]``."""
    return np.stack([found.curves.values[name] for name in (*tables.METRICS, "l2")], -1)


def rows_of(jobs, order):
    """The results table of finished jobs, three steps per epoch."""
    return table([(job.specs, workload.load(job).curves) for job in jobs], order, 3)


class StopAfter:
    """A stop that is asked for at the n-th question."""

    def __init__(self, questions):
        self.left = questions

    def __call__(self):
        self.left -= 1
        return self.left < 0


CASES = {
    "fc": ({}, [spec()], None),
    "fc-momentum-schedule": (
        {"momentum": 0.9, "schedule": {"factor": 0.2, "at": [0.3, 0.6]}},
        [spec()],
        None,
    ),
    "fc-bucket": ({"bucket": 3}, [spec(), spec(1, 0.5), spec(2, 0.2, 0.0)], None),
    "fc-auto": (
        {},
        [auto()],
        Controller(every=2, decay=0.5),
    ),
    "fc-auto-bucket": (
        {"bucket": 2},
        [auto(measure="subset"), auto(1, 0.3, measure="subset")],
        Controller(every=2, decay=0.5),
    ),
    "cnn-augment": ({"model": "cnn_bn", "momentum": 0.9, "augment": True}, [spec(steps=6)], None),
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_job_resumes_to_the_same_bits(case, tmp_path):
    changes, specs, controller = CASES[case]

    (job,) = workload.jobs(recipe(tmp_path, controller=controller, **changes), specs)
    train_job.execute(job)
    expected = workload.load(job)
    assert np.isfinite(values(expected)).all()
    assert values(expected).shape == (len(specs), len(expected.curves.steps), 6)
    assert expected.curves.steps[-1] == specs[0].steps
    job.file.unlink()

    interruptions = (0, 1, 2, 5) if specs[0].steps > 6 else (0, 3)
    for questions in interruptions:
        with pytest.raises(Interrupted):
            train_job.execute(job, stop=StopAfter(questions))
        assert workload.load(job) is None
        assert archives.load(job.file.with_suffix(".checkpoint")) is not None
    train_job.execute(job)
    found = workload.load(job)
    np.testing.assert_array_equal(found.curves.steps, expected.curves.steps)
    np.testing.assert_array_equal(values(found), values(expected))
    assert list(job.folder.glob("*.checkpoint*")) == []


def test_a_damaged_checkpoint_costs_time_but_no_bit(tmp_path):
    (job,) = workload.jobs(recipe(tmp_path), [spec()])
    train_job.execute(job)
    expected = workload.load(job)
    job.file.unlink()
    for _ in range(2):
        with pytest.raises(Interrupted):
            train_job.execute(job, stop=StopAfter(2))
    newest = job.file.with_suffix(".checkpoint")
    assert newest.with_name(newest.name + ".previous").exists()
    newest.write_bytes(newest.read_bytes()[:-100])
    train_job.execute(job)
    np.testing.assert_array_equal(values(workload.load(job)), values(expected))


def test_checkpoints_are_written_while_a_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "CHECKPOINT_SECONDS", 0.0)
    (job,) = workload.jobs(recipe(tmp_path), [spec()])
    saved = []
    save = archives.save

    def spy(path, arrays, meta, *, keep=False):
        saved.append((path.suffix, meta.get("step")))
        save(path, arrays, meta, keep=keep)

    monkeypatch.setattr(archives, "save", spy)
    train_job.execute(job)
    assert saved == [(".checkpoint", step) for step in range(1, STEPS + 1)] + [(".npz", None)]


def test_progress_adds_up_and_ends_finished(tmp_path):
    (job,) = workload.jobs(recipe(tmp_path, bucket=2), [spec(), spec(1)])
    events = []
    train_job.execute(job, events.append)
    assert sum(event.run_steps for event in events) == job.run_steps == 2 * STEPS
    assert [event.finished for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1].best == pytest.approx(np.nanmax(workload.load(job).curves.values["test_accuracy"]))
    assert job.name.endswith("+1")


def test_a_diverged_run_keeps_its_rows_and_harms_no_neighbour(tmp_path):
    specs = [spec(eta=1e30), spec(1)]
    (together,) = workload.jobs(recipe(tmp_path, bucket=2), specs)
    train_job.execute(together)
    found = workload.load(together)
    lost, healthy = values(found)
    assert np.isfinite(healthy).all()
    assert np.isfinite(lost[0]).all(), "before the first step nothing has diverged"
    assert np.isnan(lost[-1, :5]).all()
    first = np.isnan(lost[:, 0]).argmax()
    assert np.isnan(lost[first:, :5]).all()

    alone = workload.jobs(recipe(tmp_path), specs)
    for job in alone:
        train_job.execute(job)
    rows = rows_of(alone, specs)
    diverged = rows[rows["eta"] == 1e30]
    assert diverged["step"].tolist() == rows[rows["eta"] != 1e30]["step"].tolist()
    assert (diverged["l2"] == 0.01).all()
    assert diverged["train_loss"].isna().to_numpy().tolist() == np.isnan(lost[:, 0]).tolist()


def test_the_table_has_the_columns_of_the_results_in_the_order_of_the_grid(tmp_path):
    specs = [spec(0, l2=0.1, steps=6), spec(1, l2=0.0), spec(2, l2=0.01), spec(3, 0.5, steps=6)]
    made = workload.jobs(recipe(tmp_path), specs)
    assert [job.specs[0].steps for job in made] == [STEPS, STEPS, 6, 6], "longest first"
    for job in made:
        train_job.execute(job)
    rows = rows_of(made, specs)
    assert tuple(rows.columns) == tables.COLUMNS
    assert list(dict.fromkeys(rows["run"])) == [s.slug for s in specs]
    for s in specs:
        run = rows[rows["run"] == s.slug]
        assert run["step"].tolist() == evaluation.evaluation_steps(s.steps, 6, FIRST_EVALUATION).tolist()
        np.testing.assert_array_equal(run["epoch"], run["step"] / 3)
        for column in ("group", "eta", "l2", "seed", "sigma_w"):
            assert (run[column] == getattr(s, column)).all()
        assert (run["budget"] == s.epochs).all()
        assert ((run["test_accuracy"] * 10).round(9) % 1 == 0).all()
    assert tables.parse(tables.table_bytes(rows)).equals(rows)


def test_every_run_is_evaluated_at_the_budgets_it_reaches(tmp_path):
    at = replace(
        recipe(tmp_path), budgets=(1.0, 2.5, 7.0, 99.0)
    )  # 3, 8 and 21 steps; the last beyond all runs
    assert workload.key(at) != workload.key(recipe(tmp_path))
    for job in workload.jobs(at, [spec(0), spec(1, steps=6)]):
        train_job.execute(job)
        length = job.specs[0].steps
        expected = {
            *evaluation.evaluation_steps(length, 6, FIRST_EVALUATION).tolist(),
            *(b for b in (3, 8, 21) if b < length),
        }
        assert workload.load(job).curves.steps.tolist() == sorted(expected)


def test_evaluations_begin_where_the_section_says(tmp_path):
    later = replace(recipe(tmp_path), first_evaluation=20)
    assert workload.key(later) != workload.key(recipe(tmp_path))
    (job,) = workload.jobs(later, [spec(steps=40)])
    train_job.execute(job)
    assert workload.load(job).curves.steps.tolist() == [0, 22, 32, 40]
    section = Sweep(
        setup=later.setup, first_evaluation=20, grids=[{"eta": [1], "l2": [0.1], "length": {"epochs": 1}}]
    )
    params = Params(scale="smoke", seed=0, data={"source": "sample"})
    assert Recipe.of("sweep@test", section, params, tmp_path).first_evaluation == 20


def test_under_autol2_the_column_l2_is_the_coefficient_in_force(tmp_path):
    controller = Controller(every=2, decay=0.5)
    specs = [auto(group="auto_minibatch"), spec(group="constant")]
    of = recipe(tmp_path, controller=controller)
    for job in workload.jobs(of, specs):
        train_job.execute(job)
    rows = rows_of(workload.jobs(of, specs), specs)
    found = rows[rows["group"] == "auto_minibatch"]["l2"].to_numpy()
    assert found[0] == 0.5
    assert (np.diff(found) <= 0).all()
    assert found[-1] < 0.5
    assert (rows[rows["group"] == "constant"]["l2"] == 0.01).all()


def test_the_key_changes_with_setup_data_code_versions_and_flags(tmp_path, monkeypatch):
    base = recipe(tmp_path)
    found = {workload.key(base), workload.key(recipe(tmp_path, batch=6))}
    found.add(workload.key(recipe(tmp_path, controller=Controller())))
    found.add(workload.key(recipe(tmp_path, controller=Controller(every=5))))
    found.add(workload.key(Recipe("sweep@test", base.setup, 7, "sample", tmp_path)))
    monkeypatch.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup, seed=1))
    found.add(workload.key(base))
    monkeypatch.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup))
    for module, name, value in (
        (keys, "code_key", lambda *modules: "edited"),
        (machine, "versions", lambda: {"jax": "0.0"}),
    ):
        with monkeypatch.context() as context:
            context.setattr(module, name, value)
            found.add(workload.key(base))
    with monkeypatch.context() as context:
        context.setenv("XLA_FLAGS", "--xla_other")
        found.add(workload.key(base))
    assert len(found) == 9
    # Neither the place of the checkout nor how many runs train side by side changes a number.
    assert workload.key(base) == workload.key(recipe(tmp_path / "elsewhere", bucket=4))


def test_files_of_jobs_differ_with_every_field_of_their_runs(tmp_path):
    of = recipe(tmp_path)
    variants = [spec(), spec(1), spec(eta=0.2), spec(l2=0.1), spec(steps=12), spec(group="fixed")]
    files = {workload.jobs(of, [variant])[0].file for variant in variants}
    files.add(workload.jobs(recipe(tmp_path, bucket=2), variants[:2])[0].file)
    assert len(files) == 7


def test_results_and_passport(tmp_path):
    of = recipe(tmp_path)
    specs = [spec(4, steps=6), spec(5, eta=1e30, steps=6)]
    made = workload.jobs(of, specs)
    for job in made:
        train_job.execute(job)
    head = workload.header("test", "smoke", of, {"evaluations_per_decade": 6})
    found = workload.results(head, [workload.load(job) for job in made], specs, 12.5)
    passport = found.passport
    wanted = {
        "name": "test",
        "scale": "smoke",
        "seeds": [4, 5],
        "runs": 2,
        "diverged": 1,
        "run_steps": 12,
        "steps_per_epoch": 3,
        "classes": 10,
        "wall_seconds": 12.5,
        "status": "done",
    }
    assert {name: passport[name] for name in wanted} == wanted
    assert passport["data"]["train"] == 24
    assert passport["data"]["test"] == 10
    assert passport["data"]["image_size"] == 4
    assert passport["setup"] == of.setup.model_dump(mode="json")
    assert passport["device"].startswith("cpu")
    assert passport["pure_step_seconds"] > 0
    assert set(passport["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "numpy", "l2dynamics"}
    json.dumps(passport, allow_nan=False)
    tables.write(found, tmp_path)
    again = tables.load("test", tmp_path, "smoke")
    pd.testing.assert_frame_equal(again.table, found.table)


def test_an_unfinished_or_damaged_job_is_not_loaded(tmp_path):
    (job,) = workload.jobs(recipe(tmp_path), [spec(steps=3)])
    assert workload.load(job) is None
    train_job.execute(job)
    assert isinstance(workload.load(job), Finished)
    job.file.write_bytes(b"no such archive")
    assert workload.load(job) is None
