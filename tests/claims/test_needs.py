"""What would decide a claim is said where the variance is known by its parts, and only there."""

import re
from dataclasses import replace

import pytest
import synthetic

from l2dynamics.analysis.resampling import Estimate, Parts
from l2dynamics.claims import checks, judging

# A standard error of 0.3, all of it between seeds.
MEASURED = Estimate(0.5, 0.3, 4.0, n_seeds=5, parts=Parts(seeds=0.09))


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (MEASURED, r"\d+ seeds"),
        (replace(MEASURED, se=0.1, parts=Parts(seeds=0.01)), "the same runs with other seeds"),
        (replace(MEASURED, parts=Parts()), ""),
        (replace(MEASURED, n_seeds=1), ""),
        (replace(MEASURED, parts=Parts(seeds=0.01)), "evaluations closer in time"),
        (replace(MEASURED, se=0.6), r"\d+ seeds, with evaluations closer in time"),
        (replace(MEASURED, value=0.0), "no number of seeds, test images or points alone"),
    ],
)
def test_what_would_decide_whether_a_difference_is_positive(estimate, said):
    found = judging.needs(checks.better("difference", estimate), synthetic.measure_c())
    assert re.fullmatch(said, found), found
