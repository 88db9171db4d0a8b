"""Curves in blocks, halves, and choosing on one while scoring on the other."""

import numpy as np
import pandas as pd
import pytest

from l2dynamics.analysis import blocks
from l2dynamics.analysis.blocks import Curves
from l2dynamics.results.tables import BLOCKS as COLUMNS


def curves_of(counts, seeds=None):
    counts = np.asarray(counts, dtype=float)
    seeds = tuple(range(len(counts))) if seeds is None else seeds
    return Curves(np.arange(counts.shape[1]) + 1, counts, np.full(20, 10), seeds)


def random_curves(seed=0, seeds=3, times=4):
    return curves_of(np.random.default_rng(seed).integers(0, 11, (seeds, times, 20)))


def table_of(curves):
    frames = [
        pd.DataFrame(curves.correct[k], columns=list(COLUMNS)).assign(
            run=f"s{seed}", seed=seed, step=curves.steps
        )
        for k, seed in enumerate(curves.seeds)
    ]
    return pd.concat(frames, ignore_index=True)


def test_accuracy_of_all_images_and_of_the_halves():
    curves = random_curves()
    assert curves.accuracy()[1, 2] == curves.correct[1, 2].sum() / 200
    assert curves.accuracy(blocks.HALF_A)[1, 2] == curves.correct[1, 2, :10].sum() / 100
    halves = curves.accuracy(blocks.HALF_A) + curves.accuracy(blocks.HALF_B)
    np.testing.assert_allclose(halves / 2, curves.accuracy())


def test_a_table_gives_its_curves_back_whatever_the_order_of_its_rows():
    curves = random_curves()
    read = blocks.from_table(table_of(curves).sample(frac=1, random_state=1), curves.sizes)
    assert read.seeds == curves.seeds
    np.testing.assert_array_equal(read.correct, curves.correct)
    np.testing.assert_array_equal(read.steps, curves.steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="correct_07"), "lacks the column 'correct_07'"),
        (lambda t: t.iloc[:-1], "different steps"),
        (lambda t: t.assign(seed=0), "two runs have one seed"),
        (lambda t: t.assign(correct_03=np.nan), "leave out runs that diverged"),
        (lambda t: t.assign(correct_03=11), "none of its number of images"),
        (lambda t: t.assign(step=1), "steps of the evaluations must increase"),
    ],
)
def test_tables_without_curves_are_refused(change, message):
    curves = random_curves()
    with pytest.raises(ValueError, match=message):
        blocks.from_table(change(table_of(curves)), curves.sizes)


def test_curves_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 seeds"):
        Curves(np.arange(4), np.zeros((3, 4, 20)), np.full(20, 10), (0, 1))


def test_until_keeps_the_evaluation_at_the_budget():
    curves = random_curves()
    assert curves.until(3 * (1 - 1e-12)).steps.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="no evaluation up to step"):
        curves.until(0.5)


def test_common_pairs_the_runs_by_their_seeds():
    left, right = random_curves(0), random_curves(1)
    left, right = (
        Curves(left.steps, left.correct, left.sizes, (3, 1, 2)),
        Curves(right.steps, right.correct, right.sizes, (2, 5, 3)),
    )
    one, other = blocks.common([left, right])
    assert one.seeds == other.seeds == (2, 3)
    np.testing.assert_array_equal(one.correct, left.correct[[2, 0]])
    np.testing.assert_array_equal(other.correct, right.correct[[0, 2]])
    with pytest.raises(ValueError, match="no seed in common"):
        blocks.common([one, random_curves(2, seeds=2)])
    with pytest.raises(ValueError, match="no run with seed 9"):
        left.of_seeds([9])


def test_choosing_on_one_half_and_scoring_on_the_other_by_hand():
    first, second = np.array([0.5, 0.7, 0.6]), np.array([0.8, 0.4, 0.6])
    # A chooses the second, which scores 0.4 on B; B chooses the first, 0.5 on A.
    assert blocks.crossed(first, second) == pytest.approx(0.45)


def test_the_best_of_equal_options_scores_what_they_all_have():
    """The maximum over 50 noisy equals is too high by two standard deviations, the score is not."""
    rng = np.random.default_rng(0)
    first, second = 0.5 + 0.01 * rng.normal(size=(2, 4000, 50))
    assert 0.5 * (first.max(1) + second.max(1)).mean() > 0.52
    score = blocks.crossed(first, second)
    assert score.mean() == pytest.approx(0.5, abs=4 * score.std() / np.sqrt(4000))


def test_of_equals_the_first_is_best_whatever_the_rounding():
    values = np.array([[0.1, 0.3, 0.3 + 1e-15, 0.2], [0.5, 0.1, 0.5, 0.5]])
    assert blocks.first_best(values).tolist() == [1, 0]


def test_a_table_of_a_sweep_gives_its_grid_points_without_what_diverged():
    points = {(0.1, 0.0): random_curves(0), (0.1, 0.01): random_curves(1), (0.2, 0.01): random_curves(2)}
    frames = [
        table_of(curves).assign(eta=eta, l2=l2, run=lambda t, e=eta, w=l2: t["run"] + f"-{e}-{w}")
        for (eta, l2), curves in points.items()
    ]
    table = pd.concat(frames, ignore_index=True)
    table.loc[(table["run"] == "s1-0.1-0.01") & (table["step"] > 2), "correct_04"] = np.nan
    table.loc[table["eta"] == 0.2, "correct_19"] = np.nan
    found = blocks.grid(table, np.full(20, 10))
    assert list(found) == [(0.1, 0.0), (0.1, 0.01)]
    assert found[(0.1, 0.01)].seeds == (0, 2)
    np.testing.assert_array_equal(found[(0.1, 0.0)].correct, points[(0.1, 0.0)].correct)
