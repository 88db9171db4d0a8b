"""The best of several, chosen and scored apart, against plain loops; and what luck remains in it."""

import numpy as np
import pytest

from l2dynamics.analysis import choice
from l2dynamics.analysis.blocks import HALF_A, HALF_B, Curves
from l2dynamics.analysis.resampling import View, as_measured


def random_curves(rng, times, seeds=3):
    return Curves(
        np.arange(times) + 1, rng.integers(20, 80, (seeds, times, 20)), np.full(20, 100), tuple(range(seeds))
    )


def drawn(rng, seeds, draws=25):
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    return View(weights, rng.multinomial(20, np.full(20, 0.05), draws).astype(float), np.ones((1, 0)))


def options(view, draw, candidates, half, seeds):
    """Accuracies of all evaluations of all candidates, mean with the given weights of seeds."""
    inside = range(20)[half]
    blocks = view.blocks[draw]
    return [
        sum(
            seeds[s]
            * sum(blocks[b] * one.correct[s, t, b] for b in inside)
            / sum(100 * blocks[b] for b in inside)
            for s in range(len(seeds))
        )
        for one in candidates
        for t in range(len(one.steps))
    ]


@pytest.mark.parametrize("across_seeds", [False, True])
def test_best_is_what_a_loop_over_draws_seeds_and_evaluations_finds(across_seeds):
    rng = np.random.default_rng(0)
    candidates, view = [random_curves(rng, 3), random_curves(rng, 5)], drawn(rng, 3)
    found = choice.best(view, candidates, across_seeds=across_seeds)
    for draw, value in enumerate(found):
        weights = view.seeds[draw]
        rounds = [(weights, weights, 1.0)]
        if across_seeds:
            rounds = []
            for seed in range(3):
                others = np.where(np.arange(3) == seed, 0, weights)
                others = weights if others.sum() == 0 else others
                rounds.append((others, np.eye(3)[seed], weights[seed]))
        expected = 0.0
        for choose, score, weight in rounds:
            for look, other in ((HALF_A, HALF_B), (HALF_B, HALF_A)):
                best = int(np.argmax(np.round(options(view, draw, candidates, look, choose), 9)))
                expected += 0.5 * weight * options(view, draw, candidates, other, score)[best]
        assert value == pytest.approx(expected)


@pytest.mark.parametrize("across_seeds", [False, True])
def test_views_with_one_row_serve_all_draws(across_seeds):
    rng = np.random.default_rng(1)
    candidates, view = [random_curves(rng, 3), random_curves(rng, 5)], drawn(rng, 3)
    none = as_measured(3)
    for some in (View(view.seeds, none.blocks, none.units), View(none.seeds, view.blocks, none.units)):
        full = View(
            np.broadcast_to(some.seeds, view.seeds.shape).copy(),
            np.broadcast_to(some.blocks, view.blocks.shape).copy(),
            none.units,
        )
        np.testing.assert_allclose(
            choice.best(some, candidates, across_seeds=across_seeds),
            choice.best(full, candidates, across_seeds=across_seeds),
        )


def test_the_budget_limits_the_evaluations():
    rng = np.random.default_rng(2)
    curves = random_curves(rng, 6)
    cut = Curves(curves.steps[:2], curves.correct[:, :2], curves.sizes, curves.seeds)
    assert choice.best(as_measured(3), [curves], 2.5) == choice.best(as_measured(3), [cut])
    with pytest.raises(ValueError, match="no evaluation up to step"):
        choice.best(as_measured(3), [curves], 0.5)


def test_one_seed_has_no_others():
    curves = random_curves(np.random.default_rng(3), 6, seeds=1)
    assert choice.best(as_measured(1), [curves], across_seeds=True) == choice.best(as_measured(1), [curves])


@pytest.mark.parametrize(("across_seeds", "low", "high"), [(False, 0.004, 0.02), (True, -0.002, 0.002)])
def test_luck_of_seeds_remains_unless_others_choose(across_seeds, low, high):
    """Eight equal candidates whose runs scatter by 0.01: halves of the images see the same lucky runs."""
    rng = np.random.default_rng(4)
    gains = []
    for _ in range(400):
        runs = 0.5 + rng.normal(0, 0.01, (8, 3, 1, 1)) + rng.normal(0, 0.005, (8, 3, 1, 20))
        candidates = [
            Curves(np.array([1]), np.rint(1e5 * run), np.full(20, 100_000), (0, 1, 2)) for run in runs
        ]
        gains.append(choice.best(as_measured(3), candidates, across_seeds=across_seeds)[0] - 0.5)
    assert low < np.mean(gains) < high


def test_the_range_of_options_is_that_of_the_best_and_the_worst_on_the_other_half():
    rng = np.random.default_rng(5)
    candidates = [random_curves(rng, 4) for _ in range(3)]
    halves = [[one.accuracy(half).mean(axis=0) for one in candidates] for half in (HALF_A, HALF_B)]
    expected = []
    for seen, scored in (halves, halves[::-1]):
        places = [int(curve.argmax()) for curve in seen]
        own = [curve[place] for curve, place in zip(seen, places, strict=True)]
        other = [curve[place] for curve, place in zip(scored, places, strict=True)]
        expected.append(other[int(np.argmax(own))] - other[int(np.argmin(own))])
    found = choice.spread(as_measured(3), candidates)
    assert found == pytest.approx([np.mean(expected)])


def test_the_range_of_equal_options_is_zero_on_average():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(300):
        counts = rng.binomial(100, 0.5, (3, 1, 1, 20))
        options = [Curves(np.array([1]), one, np.full(20, 100), (0,)) for one in counts]
        found.append(choice.spread(as_measured(1), options)[0])
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
