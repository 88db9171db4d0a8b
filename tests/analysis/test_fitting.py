"""Times to training accuracy 1 and their exponents, on curves written by hand and on power laws."""

import numpy as np
import pandas as pd
import pytest

from l2dynamics.analysis import fitting
from l2dynamics.analysis.blocks import Lacking


def run(eta, l2, seed, steps, train):
    return pd.DataFrame(
        {
            "run": f"{eta}-{l2}-{seed}",
            "eta": eta,
            "l2": l2,
            "seed": seed,
            "step": steps,
            "train_accuracy": train,
        }
    )


def law(power, scatter=0.0, seeds=(0, 1, 2), l2s=(0.0, 0.01, 0.1)):
    """Times 100 η^power, to the nearest of 60 evaluations a decade."""
    rng = np.random.default_rng(1)
    steps = np.unique(np.rint(np.geomspace(1, 1e5, 300))).astype(int)
    frames = []
    for eta in (0.05, 0.15, 0.5, 1.5):
        for l2 in l2s:
            for seed in seeds:
                time = 100 * eta**power * np.exp(scatter * rng.normal())
                frames.append(run(eta, l2, seed, steps, np.where(steps >= time, 1.0, 0.5)))
    return pd.concat(frames, ignore_index=True)


def test_the_first_evaluation_with_every_image_right():
    table = pd.concat(
        [
            run(0.1, 0.0, 0, [0, 1, 2, 4], [1.0, 0.9, 1.0, 0.9]),
            run(0.1, 0.1, 0, [0, 1, 2, 4], [0.1, 0.9, 0.9, 0.9]),
        ]
    )
    (found,) = fitting.first_steps(table.sample(frac=1, random_state=0)).to_dict("records")
    assert (found["l2"], found["step"], found["before"]) == (0.0, 2, 1)


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.3])
def test_the_exponent_of_a_power_law(power):
    times = fitting.times(law(power, scatter=0.05))
    found = fitting.exponent(times, times.eta, times.l2)
    assert found.n_seeds == 3
    assert found.low(0.99) < power < found.high(0.99)
    positive = times.where(times.l2 > 0)
    assert set(positive.l2) == {0.01, 0.1}


def test_its_error_is_at_least_what_the_evaluations_leave_open():
    times = fitting.times(law(-1.0))
    found = fitting.exponent(times, times.eta, times.l2)
    centred = np.log(times.eta) - np.log(times.eta).mean()
    assert found.se >= np.sqrt((centred**2 * times.gaps**2).sum() / 12) / (centred**2).sum() > 0


def test_points_that_a_seed_does_not_reach_and_points_of_one_seed_stay_out():
    table = law(-1.0)
    never = (table["eta"] == 0.5) & (table["l2"] == 0.1) & (table["seed"] == 1)
    alone = (table["eta"] == 1.5) & (table["l2"] == 0.1) & (table["seed"] > 0)
    table.loc[never, "train_accuracy"] = 0.9
    found = fitting.times(table[~alone])
    points = set(zip(found.eta, found.l2, strict=True))
    assert {(0.5, 0.1), (1.5, 0.1)}.isdisjoint(points)
    assert len(points) == 10


def test_what_the_runs_lack_is_said():
    with pytest.raises(Lacking, match="with two seeds"):
        fitting.times(law(-1.0, seeds=(0,)))
    times = fitting.times(law(-1.0, l2s=(0.01,)))
    with pytest.raises(Lacking, match="two different values"):
        fitting.exponent(times, times.l2, times.eta)
