"""README.md: paths and names in it exist; test_docs.py looks that every command is executed by a test."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import guides
import pytest
import shown
from places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [command for block in shown.blocks(ROOT / "README.md") for command in block.commands]


@pytest.mark.executes("l2dynamics plan --scale paper")
def test_plan():
    command = [Path(sys.executable).parent / "l2dynamics", "plan", "--scale", "paper"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "sweep@wrn" in done.stdout


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_targets_and_stages_exist():
    assert COMMANDS
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    stages = guides.stage_names()
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), command
        if words[:2] == ["dvc", "repro"]:
            assert set(words[2:]) <= set(stages), command
