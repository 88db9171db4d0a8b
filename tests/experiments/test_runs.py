"""From numbers to runs: grids, lengths, predicted coefficients, AutoL2 comparisons, names, buckets."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_setups import setup

from l2dynamics.experiments import runs
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.runs import RunSpec, buckets, of_autol2, of_measure_c, of_sweep
from l2dynamics.experiments.schema import AutoL2Sweep, Controller, Grid, Length, MeasureC, Predicted, Sweep


def sweep(*grids, predicted=None, **changes):
    return Sweep(setup=setup(**changes), grids=grids, predicted=predicted)


def grid(**changes):
    return Grid(**({"eta": (0.1, 0.2), "l2": (0.01, 0.1), "length": Length(product=1)} | changes))


def test_a_grid_is_every_combination_with_its_own_length():
    of = sweep(grid(l2=(0, 0.01, 0.1), zero=Length(epochs=50), sigma_w=(1.0, 2.0), seeds=2))
    found = of_sweep("fc", of, per_epoch=3, seed=7)
    combinations = list(itertools.product((0.1, 0.2), (0, 0.01, 0.1), (1.0, 2.0), (7, 8)))
    assert [(s.eta, s.l2, s.sigma_w, s.seed) for s in found] == combinations
    for s in found:
        epochs = 50 if s.l2 == 0 else 1 / (s.eta * s.l2)
        assert s.epochs == pytest.approx(epochs)
        assert s.steps == round(epochs * 3)
        assert s.group == "grid"
        assert s.measure is None


def test_without_sigma_w_the_setup_s_is_taken():
    assert {s.sigma_w for s in of_sweep("fc", sweep(grid()), 1, 0)} == {2**0.5}


def test_max_epochs_leaves_out_but_keeps_the_reference():
    of = sweep(grid(l2=(0, 0.01, 0.1), zero=Length(epochs=1e5), max_epochs=500))
    assert {(s.eta, s.l2) for s in of_sweep("fc", of, 1, 0)} == {
        (0.1, 0),
        (0.2, 0),
        (0.1, 0.1),
        (0.2, 0.1),
        (0.2, 0.01),
    }


def test_overlapping_grids_share_runs_and_other_groups_do_not():
    of = sweep(grid(), grid(l2=(0.1,), seeds=2), grid(group="fixed", l2=(0.1,)))
    found = of_sweep("fc", of, 1, 0)
    assert len(found) == 4 + 2 + 2
    assert len(set(found)) == len({s.slug for s in found}) == len(found)


def test_runs_shorter_than_a_step_get_one():
    (one,) = of_sweep("fc", sweep(grid(eta=(50,), l2=(100,))), 1, 0)
    assert one.steps == 1


@pytest.mark.parametrize("c", [0.0066, 0.7])
def test_predicted_runs_are_at_c_over_t(c):
    rule = Predicted(c_of="wrn", eta=0.2, budgets=(50, 100, 250), multiples=(1, 2), seeds=3)
    found = of_sweep("wrn_aug", sweep(grid(), predicted=rule), 8, 0, c)[4:]
    assert len(found) == 2 * 3 * 3
    for s in found:
        multiple = {"predicted": 1, "predicted_double": 2}[s.group]
        assert s.l2 == pytest.approx(multiple * c / s.epochs, rel=1e-12)
        assert s.steps == 8 * s.epochs
        assert s.eta == 0.2


@pytest.mark.parametrize("c", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_predicted_runs_need_a_measured_c(c):
    rule = Predicted(c_of="wrn", eta=0.2, budgets=(50,))
    with pytest.raises(
        ConfigError, match=r"^wrn_aug: predicted runs need c of wrn: run `dvc repro measure_c`$"
    ):
        of_sweep("wrn_aug", sweep(grid(), predicted=rule), 8, 0, c)


def test_a_slip_of_the_pen_is_refused_by_name():
    # The section alone knows the sizes of the full sets only; the number of steps per epoch comes with the data.
    with pytest.raises(ConfigError, match=r"η = 0.1, λ = 1e-06: .* steps are more than the limit") as raised:
        of_sweep("fc", sweep(grid(l2=(1e-6,))), 1000, 0)
    assert "max_epochs" in str(raised.value)
    with pytest.raises(ValueError, match=r"grids.0: η = 0.1, λ = 1e-10 needs .* steps, more than 1e\+09"):
        sweep(grid(l2=(1e-10,)))
    with pytest.raises(ValueError, match="max_epochs leaves every run out"):
        sweep(grid(max_epochs=1))


def test_different_runs_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="differ in too few digits"):
        of_sweep("fc", sweep(grid(eta=(0.1, 0.10000001), length=Length(epochs=3))), 1, 0)


def test_autol2_runs_compare_equal_budgets_and_seeds():
    of = AutoL2Sweep(
        setup=setup(),
        eta=0.2,
        epochs=20,
        l2=(0.1, 0.01),
        seeds=2,
        init_l2=(0.1, 1.0),
        controller=Controller(),
    )
    found = of_autol2("fc", of, 3, 5)
    assert {s.steps for s in found} == {60}
    groups = {
        group: [(s.l2, s.init_l2, s.seed, s.measure) for s in found if s.group == group]
        for group in ("constant", "auto_minibatch", "auto_subset")
    }
    assert groups["constant"] == [(l2, None, seed, None) for l2 in (0.1, 0.01) for seed in (5, 6)]
    for measure, starts in (("minibatch", (0.1, 1.0)), ("subset", (0.1,))):
        assert groups[f"auto_{measure}"] == [(None, l2, seed, measure) for l2 in starts for seed in (5, 6)]
    assert len({s.slug for s in found}) == len(found) == 10


def test_measure_c_runs():
    of = MeasureC(setup=setup(), eta=0.2, l2=(0.1, 0.05), seeds=2, length=Length(inverse_l2=0.4))
    found = of_measure_c("wrn", of, 3, 1)
    assert [(s.l2, s.seed, s.epochs, s.steps) for s in found] == [
        (0.1, 1, 4, 12),
        (0.1, 2, 4, 12),
        (0.05, 1, 8, 24),
        (0.05, 2, 8, 24),
    ]


SPEC = st.builds(
    RunSpec,
    st.sampled_from(["grid", "fixed"]),
    st.sampled_from([0.1, 0.2]),
    st.sampled_from([0.0, 1e-4]),
    st.integers(0, 3),
    st.just(1.0),
    st.just(1.0),
    st.sampled_from([1, 2, 300]),
    st.sampled_from([None, "minibatch", "subset"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SPEC, unique=True, max_size=30), st.integers(1, 7))
def test_buckets_hold_every_run_once_in_lockstep_longest_first(specs, size):
    found = buckets(specs, size)
    assert sorted(spec.record().items().__repr__() for bucket in found for spec in bucket) == sorted(
        spec.record().items().__repr__() for spec in specs
    )
    for bucket in found:
        assert 1 <= len(bucket) <= size
        assert len({(spec.steps, spec.measure) for spec in bucket}) == 1
    lengths = [bucket[0].steps * len(bucket) for bucket in found]
    assert lengths == sorted(lengths, reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(SPEC, unique=True, min_size=1, max_size=12), st.randoms())
def test_jobs_are_the_same_after_every_start(specs, random):
    # The file of a job is named after its runs: it must not depend on anything but the list of runs.
    assert buckets(specs, 4) == buckets(list(specs), 4)
    assert runs.RunSpec(**specs[0].record()) == specs[0]
