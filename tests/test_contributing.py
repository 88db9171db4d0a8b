"""CONTRIBUTING.md: its four steps, carried out in a copy of the checkout, give a trained sweep and its figure."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NEEDED = (
    "src",
    "stages",
    "scripts",
    "scales",
    "data",
    ".dvc",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "params.yaml",
)


def block(step, kind):
    """The code of this kind in a step of the guide."""
    text = GUIDE.partition(f"### {step}. ")[2].partition("\n### ")[0]
    (code,) = re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)
    return code


def replaced(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name}: {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def copy(tmp_path):
    """The checkout's code and data as a fresh git repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *NEEDED, "constraints.txt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_four_steps_add_an_experiment(copy):
    with (copy / "scales" / "smoke.yaml").open("a", encoding="utf-8") as file:
        file.write("\n" + block(1, "yaml"))
    dag = copy / "dvc.yaml"
    replaced(dag, "  sweep:\n    foreach:\n", "  sweep:\n    foreach:\n" + block(2, "yaml"))
    package = copy / "src" / "l2dynamics" / "figures"
    (package / "figX1.py").write_text(block(3, "python"), encoding="utf-8")
    replaced(package / "__init__.py", "EXTRA: tuple[str, ...] = ()", 'EXTRA: tuple[str, ...] = ("figX1",)')
    replaced(dag, "stages:\n", "stages:\n" + block(4, "yaml"))
    replaced(copy / "params.yaml", "scale: laptop", "scale: smoke")

    environment = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "DVC_NO_ANALYTICS": "1",
        "L2DYNAMICS_TRACKING": "off",
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("L2DYNAMICS_ROOT", None)
    commands = [line.removeprefix("$ ") for line in block(4, "console").splitlines()]
    assert commands[-1] == "dvc repro"  # everything: minutes, and test_end_to_end.py does it
    output = ""
    for command in commands[:-1]:
        done = subprocess.run(command.split(), cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        output += done.stdout
    assert re.findall(r"Running stage '(\S+)'", output) == ["code", "data@mnist", "sweep@fc_shallow", "figX1"]
    assert "src/l2dynamics/figures/figX1.py" in (copy / "data" / "code" / "figX1.txt").read_text()
    passport = json.loads((copy / "results" / "fc_shallow.json").read_text())
    assert (passport["runs"], passport["setup"]["model"]["depth"]) == (4, 1)
    for name in ("figX1.png", "figX1.svg", "data/figX1.csv"):
        assert (copy / "reports" / "figures" / name).stat().st_size > 500
    log = (copy / "work" / "logs" / "sweep@fc_shallow.log").read_text(encoding="utf-8")
    assert "look: results/fc_shallow.csv" in log
