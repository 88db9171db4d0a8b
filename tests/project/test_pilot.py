"""The script that pilots the settings of a scale: one line per run, nothing trained twice, one line for bad input."""

import subprocess
import sys

import pytest
from places import ROOT


def pilot(*words):
    command = [sys.executable, "scripts/pilot.py", "smoke", "fc", "--source", "sample", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_run_is_a_line_and_is_trained_once():
    words = (
        "--set",
        "model.width=5",
        "--eta",
        "0.5",
        "--l2",
        "0.1",
        "0",
        "--auto",
        "0.1",
        "--evaluations-per-decade",
        "4",
    )
    first = pilot(*words)
    assert first.returncode == 0, first.stderr
    *lines, log = first.stdout.splitlines()
    assert [line.partition(" seed")[0].split() for line in lines] == [
        ["η", "0.5", "λ", "0.1"],
        ["η", "0.5", "λ", "0"],
        ["η", "0.5", "λ₀", "0.1"],
    ]
    assert all("seed 1000 steps 120 " in line for line in lines)  # 6 / (0.5 · 0.1)
    assert log.startswith("log: work/logs/pilot")
    assert pilot(*words).stdout.splitlines()[:-1] == lines  # the seconds of the first time, too


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--eta", "0.5", "--l2", "0"), "error: --steps: needed where no l2 is positive\n"),
        (("--eta", "0.5", "--l2", "0.1", "--set", "batch=-1"), "error: fc --set: batch"),
    ],
)
def test_bad_input_is_refused(words, message):
    done = pilot(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
