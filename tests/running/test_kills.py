"""Killed at random moments, a stage goes on by the same command to the same bytes (``scripts/kill_campaign.py``)."""

import importlib.util
import sys

import pytest
from places import ROOT

SCRIPT = ROOT / "scripts" / "kill_campaign.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("kill_campaign", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_campaign"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["kill_campaign"]


def test_a_sweep_survives_two_kills(script, tmp_path):
    """The sample of every run of the tests; the whole campaign is below."""
    tally = script.campaign(tmp_path, ["sweep"], 2, seed=1, epochs=4000, ways=("power", "term"))["sweep"]
    assert tally.problems == []
    assert sum(tally.ways.values()) == 2
    assert tally.slowest_stop < script.PATIENCE


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sweep", "autol2", "measure_c", "theory", "track"])
def test_every_stage_survives_five_kills(script, tmp_path, stage):
    stages = ["sweep", "track"] if stage == "track" else [stage]
    tallies = script.campaign(tmp_path, stages, 5, seed=2)
    for tally in tallies.values():
        assert tally.problems == []
        assert sum(tally.ways.values()) == 5
