"""What a scale can decide: against a simulation of its slopes, and as the command prints it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from l2dynamics import cli, paths
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import evaluation
from l2dynamics.claims.base import Claim
from l2dynamics.experiments import scales
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.schema import Sweep
from l2dynamics.pipeline import power_plan

OPEN = Claim("01", "A claim.", "fig2", Verdict.UNDECIDED, "the grid ends", "laptop", "mnist")
L2S = (0.001, 0.01, 0.1, 1.0)


def found(l2s=L2S, seeds=4, **changes):
    section = Sweep.model_validate(
        {
            "setup": {
                "data": {"name": "mnist", "test": 5000, "image_size": 7},
                "model": {"kind": "fc", "depth": 1, "width": 4},
                "batch": 8,
                "sigma_w": 1.0,
            },
            "grids": [{"eta": [1], "l2": list(l2s), "seeds": seeds, "length": {"epochs": 1}}],
            **changes,
        }
    )
    specs = [RunSpec("grid", 1.0, l2, seed, 1.0, 1.0, 8) for l2 in (*l2s, 0.0) for seed in range(seeds)]
    return power_plan._of("sweep@x", section, specs)


def test_the_interval_of_the_exponent_covers_the_truth_as_often_as_it_says():
    rng, one, x = np.random.default_rng(0), found(), np.log(L2S)
    scatter = power_plan.SCATTER / math.sqrt(one.seeds)
    slopes = np.polyfit(x, rng.normal(0, scatter, (len(x), 20_000)), 1)[0]
    # Student's quantile at 2 degrees of freedom stands for a scatter that is not known; here it is.
    normal = one.slope * 1.645 / 2.920
    assert np.mean(np.abs(slopes) < normal) == pytest.approx(0.9, abs=0.01)


def test_sizes_of_a_sweep():
    one = found(evaluations_per_decade=5)
    assert (one.seeds, one.l2s, one.decades, one.images) == (4, 4, pytest.approx(3), 5000)
    assert one.difference == pytest.approx(2.80 * math.sqrt(0.15 / 5000), rel=1e-3)
    assert one.evaluations < one.evaluations_needed
    assert not found(l2s=(0.01, 0.02, 0.03)).enough
    assert found(l2s=np.geomspace(1e-4, 1, 20).tolist()).enough
    assert math.isnan(found(l2s=(0.1, 1.0)).slope)


@pytest.mark.parametrize("scale", scales.SCALES)
def test_every_scale_says_what_it_can_decide(scale, capsys):
    assert cli.main(["plan", "--scale", scale, "--power", "--json"]) in (0, None)
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert {"sweep@fc", "sweep@wrn_aug", "autol2@wrn"} <= {one["stage"] for one in stages}
    assert cli.main(["plan", "--scale", scale, "--power"]) in (0, None)
    assert "exponent ±" in capsys.readouterr().out


def test_claims_that_are_open_say_what_would_decide_them(tmp_path):
    assert power_plan.undecided(tmp_path, "laptop") == {}
    decided = replace(OPEN, verdict=Verdict.CONFIRMED, power="9 seeds")
    found = {"01": OPEN, "01-fc": OPEN, "c1": OPEN, "02": decided, "03": replace(OPEN, power="7 seeds")}
    evaluation.write({id: one.record() for id, one in found.items()}, paths.claims(tmp_path, "laptop"))
    wanted = {"01": "no number of runs: the grid ends", "03": "7 seeds"}
    assert power_plan.undecided(tmp_path, "laptop") == wanted
