"""Runs that claims compare are looked at equally often."""

import numpy as np
import pytest

from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.claims import runs


def curves(steps):
    return Curves(np.asarray(steps), np.zeros((2, len(steps), 20)), np.full(20, 10), (0, 1))


@pytest.mark.parametrize(
    ("steps", "alike"),
    [
        ([[1, 2, 4], [1, 2, 4, 8], [1, 2, 4, 8, 16]], True),
        ([[1, 2, 4], [1, 2, 3, 4, 8]], False),
        ([[1, 2, 3, 4], [1, 2, 4, 8]], False),
        # The end of the shorter run need not be an evaluation of the other.
        ([[1, 2, 4, 7], [1, 2, 4, 8]], True),
    ],
)
def test_runs_are_compared_at_the_same_times_up_to_their_common_budget(steps, alike):
    compared = [curves(some) for some in steps]
    if alike:
        runs.require_same_times(compared)
    else:
        with pytest.raises(Lacking, match="evaluated at different steps"):
            runs.require_same_times(compared)
