"""What a stage prints fails nothing: closed pipes, narrow encodings, the backend of a notebook."""

import os
import subprocess
import sys

import pytest
from places import ROOT

SAY = """
import sys
from pathlib import Path
from l2dynamics.pipeline import stage

def work(root):
    for number in range(20_000):
        stage.say(f"λ {number}")
    Path(sys.argv[1]).write_text("done")

stage.short(work)
"""


def run(command, **environment):
    return subprocess.run(
        command,
        env={**os.environ, "L2DYNAMICS_ROOT": str(ROOT), **environment},
        shell=isinstance(command, str),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("pipe", "environment"),
    [
        ("| head -2", {}),
        (">/dev/null", {"PYTHONIOENCODING": "ascii"}),
        ("| tail -1", {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    ],
)
def test_a_stage_ends_well_whoever_reads_it(tmp_path, pipe, environment):
    (tmp_path / "say.py").write_text(SAY, encoding="utf-8")
    command = f"{sys.executable} {tmp_path / 'say.py'} {tmp_path / 'file'} {pipe}; exit ${{PIPESTATUS[0]}}"
    done = run(["bash", "-c", command], **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "file").read_text() == "done"


def test_a_notebook_s_backend_kills_no_figure():
    code = "import l2dynamics.figures.style; import matplotlib; print(matplotlib.get_backend())"
    done = run([sys.executable, "-c", code], MPLBACKEND="module://matplotlib_inline.backend_inline")
    assert (done.returncode, done.stdout.strip().lower()) == (0, "agg"), done.stderr
