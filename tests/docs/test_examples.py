"""The examples run as a user runs them, with a short budget, and end with their table."""

import os
import re
import subprocess
import sys

import pytest
from places import ROOT


def run_example(name, *options):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name), *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def table(output):
    rows = re.findall(r"^(no L2|tuned|predicted|AutoL2) +(\S+) +(\S+)$", output, flags=re.MULTILINE)
    return {name: (l2, float(accuracy)) for name, l2, accuracy in rows}


EXAMPLES = ["autol2_flax.py", "predict_l2_for_my_model.py", "predict_l2_pytorch.py"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_short(name):
    pytest.importorskip("torch" if "pytorch" in name else "flax", reason=f"examples/{name} needs it")
    done = run_example(name, "--steps", "20")
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    assert list(rows) == ["no L2", "tuned", "predicted", "AutoL2"], done.stdout
    # Twenty steps are too few to predict anything from a fifth of them, and that is said.
    assert rows["predicted"][0] == "none"
    assert "no run showed a peak of the test accuracy" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_keeps_its_promise(name):
    """The full example: the prediction is within a factor of ten of the tuned coefficient."""
    pytest.importorskip("torch" if "pytorch" in name else "flax", reason=f"examples/{name} needs it")
    done = run_example(name)
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    tuned, predicted = float(rows["tuned"][0]), float(rows["predicted"][0])
    assert tuned / 10 <= predicted <= tuned * 10, done.stdout
    assert rows["predicted"][1] >= rows["tuned"][1] - 0.02, done.stdout


def test_autol2_example_is_short():
    """A training with AutoL2 takes about sixty lines."""
    lines = (ROOT / "examples" / "autol2_flax.py").read_text().splitlines()
    assert len(lines) <= 80


def test_other_optimizers_are_compared():
    done = run_example("other_optimizers.py", "--longest", "60")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(SGD|momentum|Adam|AdamW)\b.* (-?\d+\.\d\d)  \d", done.stdout, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["SGD", "momentum", "Adam", "AdamW"], done.stdout
