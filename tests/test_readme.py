"""README.md: every command it prints is known here and is executed by a test; paths and names in it exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import guides
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].removeprefix("$ ").strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]

#: Where a command is executed: by the continuous integration itself, by the end-to-end test, or right here.
EXECUTED = {
    "make test": ".ci/run",
    ". .venv/bin/activate": "the environment of every test",
    "make reproduce": "test_end_to_end.py",
    "make reproduce SCALE=smoke": "test_end_to_end.py",
    "dvc repro fig@2": "test_end_to_end.py",
    "dvc metrics show": "test_end_to_end.py",
    "dvc exp run -S 'scales/laptop.yaml:fc.evaluations=60' fig@2": "test_end_to_end.py",
    "make figures": "test_end_to_end.py",
    "make ui": "test_tracking.py",
    "make docs": "test_docs.py",
    "l2dynamics plan --scale paper": "test_readme.py",
}


def test_every_command_is_executed_by_a_test():
    assert COMMANDS
    assert set(COMMANDS) == set(EXECUTED)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [c for c in COMMANDS if EXECUTED[c] == "test_readme.py"])
def test_command(command):
    words = shlex.split(command)
    words[0] = str(Path(sys.executable).parent / words[0])
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "sweep@wrn" in done.stdout


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_targets_and_stages_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    stages = guides.stage_names()
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), command
        if words[:2] == ["dvc", "repro"]:
            assert set(words[2:]) <= set(stages), command
