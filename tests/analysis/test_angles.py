"""Angular updates from the lengths of weights, against simulated scale-invariant weights whose angles are measured."""

import numpy as np
import pandas as pd
import pytest

from l2dynamics.analysis import angles
from l2dynamics.analysis.blocks import Lacking

EVERY, STEPS = 500, 6000


def simulated(eta, l2, seed, *, burst=1):
    """Evaluations of a weight per channel under noisy gradients, and the true mean of θ² in the second half.

    A gradient is orthogonal to the weights and the larger the shorter they are; with ``burst`` it comes so seldom.
    """
    rng = np.random.default_rng(seed)
    weights, squares, rows = rng.normal(size=(400, 8)), [], []
    for step in range(STEPS + 1):
        length = np.linalg.norm(weights, axis=0)
        if step % EVERY == 0:
            rows.append({"step": step, "log_norm_Conv_0": np.log(length).mean()})
        noise = rng.normal(size=weights.shape) * (np.sqrt(burst) if step % burst == burst // 2 else 0)
        tangent = noise - weights * (noise * weights).sum(0) / length**2
        after = weights - eta * (tangent / length + l2 * weights)
        if step >= STEPS / 2:
            cosine = (weights * after).sum(0) / length / np.linalg.norm(after, axis=0)
            squares.append(np.mean(np.arccos(np.minimum(cosine, 1)) ** 2))
        weights = after
    run = f"eta{eta}-l2{l2}-s{seed}"
    return pd.DataFrame(rows).assign(run=run, eta=eta, l2=l2, seed=seed), np.mean(squares[:-1])


@pytest.mark.parametrize("burst", [1, 20])
@pytest.mark.parametrize(("eta", "l2"), [(0.1, 0.02), (0.4, 0.005), (0.02, 0.01)])
def test_the_mean_square_is_that_of_the_angles_that_were_turned(eta, l2, burst):
    table, square = simulated(eta, l2, 0, burst=burst)
    found = angles.mean_square(table).loc[(eta, l2), 0]
    assert found == pytest.approx(square / (2 * eta * l2), rel=0.03)
    course = angles.courses(table)
    late = course[course["step"] > STEPS / 2]
    assert late["square"].mean() == pytest.approx(found, rel=0.01)
    assert list(course["time"]) == pytest.approx([eta * l2 * step for step in range(EVERY, STEPS + 1, EVERY)])


def test_weights_settle_where_claim_x3_angle_expects_them():
    table = pd.concat([simulated(0.1, 0.02, seed)[0] for seed in (0, 1)], ignore_index=True)
    found = angles.settled(table)
    assert np.exp(found.value) == pytest.approx(1, abs=0.03)
    assert (found.n_seeds, found.df) == (2, 1)


def test_a_diverged_run_is_left_out_and_what_cannot_be_told_is_lacking():
    table = pd.concat([simulated(0.1, 0.02, seed)[0] for seed in (0, 1)], ignore_index=True)
    broken = table.copy()
    broken.loc[broken.index[-1], "log_norm_Conv_0"] = np.nan
    assert set(angles.courses(broken)["seed"]) == {0}
    assert list(angles.mean_square(broken).columns) == [0]
    with pytest.raises(Lacking, match="set weight_norms"):
        angles.courses(table.drop(columns="log_norm_Conv_0"))
    with pytest.raises(Lacking, match="diverged"):
        angles.courses(table.assign(log_norm_Conv_0=np.nan))
    with pytest.raises(Lacking, match="not invariant"):
        angles.settled(table.assign(log_norm_Conv_0=-0.003 * table["step"]))
