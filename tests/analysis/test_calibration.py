"""The rules of the claims on synthetic sweeps whose truth is known, and docs/calibration.md that reports them."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from l2dynamics import peaks
from l2dynamics.analysis.verdicts import Verdict

SCRIPT = ROOT / "scripts" / "calibrate.py"
PAGE = ROOT / "docs" / "calibration.md"


@pytest.fixture(scope="module")
def calibrate():
    spec = importlib.util.spec_from_file_location("calibrate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibrate"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calibrate"]


def test_worlds_have_the_noise_they_say(calibrate):
    """Between seeds: what all runs of a seed share, what one run has, what one evaluation has, and images."""
    world = calibrate.World(seeds=400)
    truth = np.full(3, calibrate.BEST)
    one, other = calibrate.measured(np.random.default_rng(0), world, [(np.arange(3.0), truth)] * 2)
    a, b = one.accuracy(), other.accuracy()
    assert np.cov(a[:, 0], b[:, 0])[0, 1] == pytest.approx(world.common**2, rel=0.3)
    images = world.disagree / 2 / world.images
    expected = world.common**2 + world.own**2 + world.jitter**2 + images
    assert a[:, 0].var() == pytest.approx(expected, rel=0.2)
    assert (a[:, 0] - a[:, 1]).var() == pytest.approx(2 * world.jitter**2 + images, rel=0.2)


def test_images_scatter_as_binomials_do(calibrate):
    quiet = calibrate.World(seeds=1, common=0.0, own=0.0, jitter=0.0)
    rng, values = np.random.default_rng(0), []
    for _ in range(300):
        (curves,) = calibrate.measured(rng, quiet, [(np.arange(1.0), np.array([0.7]))])
        values.append(curves.accuracy()[0, 0])
    # The image's part and the network's add up to p (1 − p) / N.
    assert np.var(values) == pytest.approx(0.7 * 0.3 / 10_000, rel=0.25)


@pytest.mark.parametrize("star", [100.0, 1000.0])
def test_curves_peak_where_they_say(calibrate, star):
    steps = np.unique(np.rint(np.geomspace(1, 3 * star, 2000)))
    curve = calibrate.rise(steps, star, fall=0.0)
    assert peaks.star(steps, curve) == pytest.approx(star, rel=0.2)


def test_evaluations_are_twelve_a_decade(calibrate):
    steps = calibrate.evaluations(calibrate.World(), 1e6)
    assert len(steps) == 37
    np.testing.assert_allclose(np.diff(np.log10(steps)), 1 / 12, rtol=0.01)


@pytest.mark.parametrize(
    "truth", ["slope −1", "smallest λ worse by 0.03", "optimum at c/T", "predicted λ worse by 0.04"]
)
def test_what_is_clear_is_found(calibrate, truth):
    """Two draws of some truths: the whole table takes minutes and is a slow test."""
    (scenario,) = [one for one in calibrate.scenarios() if one.truth == truth]
    assert scenario.verdicts(calibrate.World(), 2)[scenario.right] == 2


def test_equal_methods_are_not_found_different(calibrate):
    (equal,) = [one for one in calibrate.scenarios() if one.truth == "AutoL2 equal"]
    assert equal.verdicts(calibrate.World(seeds=3), 4)[Verdict.UNDECIDED] == 4


def test_the_page_has_a_row_for_every_truth(calibrate):
    page = PAGE.read_text(encoding="utf-8")
    for scenario in calibrate.scenarios():
        assert page.count(f"| {scenario.claim} | {scenario.truth} |") == len(calibrate.WORLDS), scenario.truth


def tables(text):
    """Rows of tables with shares, as (heading and first cells, shares in percent)."""
    found, heading = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| ") and "%" in line:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            shares = [int(cell[:-1]) for cell in cells if re.fullmatch(r"\d+%", cell)]
            if shares:
                found[(heading, *(cell for cell in cells if re.search("[a-zλ]", cell)))] = shares
    return found


@pytest.mark.slow
@pytest.mark.executes("python scripts/calibrate.py")
def test_the_page_says_what_the_script_prints():
    _, *script = ["python", "scripts/calibrate.py"]
    done = subprocess.run([sys.executable, *script], cwd=ROOT, capture_output=True, text=True, check=True)
    printed, shown = tables(done.stdout), tables(PAGE.read_text(encoding="utf-8"))
    assert len(printed) > 60
    for row, shares in printed.items():
        # Another BLAS rounds otherwise, and a draw or two of sixty fall to the other side.
        np.testing.assert_allclose(shown[row], shares, atol=4, err_msg=str(row))


def test_the_page_meets_the_goals_but_for_what_it_says():
    """Wrong at most 5 % and decided at least 80 % with five seeds; the exceptions stand in the page in words."""
    page = PAGE.read_text(encoding="utf-8")
    excused = set(re.findall(r"^- \*(.+?)\*", page, flags=re.MULTILINE))
    for line in page.partition("## Five seeds\n")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0].isdigit():
            truth, wrong, decided = cells[1], cells[5], cells[6]
            # Of sixty draws with a rate of 5 % up to six are no surprise.
            good = int(wrong[:-1]) <= 10 and (decided == "–" or int(decided[:-1]) >= 80)
            assert good or truth in excused, line
