"""A stage runs the package of its own checkout, and trains only with the code that its results are recorded under."""

import os
import subprocess
import sys

import guides
import pytest
from places import ROOT

MARK = '\nprint("the copy:", __file__)\n'


@pytest.fixture
def copy(tmp_path):
    return guides.copy_of_the_checkout(tmp_path / "copy")


def stage(copy, *words, **environment):
    return subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env={**os.environ, "L2DYNAMICS_TRACKING": "off", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("elsewhere", ["installed", "on the path"])
def test_a_stage_imports_the_package_of_its_own_checkout(copy, elsewhere):
    paths = copy / "src" / "l2dynamics" / "paths.py"
    paths.write_text(paths.read_text(encoding="utf-8") + MARK, encoding="utf-8")
    path = {"PYTHONPATH": str(ROOT / "src")} if elsewhere == "on the path" else {}
    done = stage(copy, "stages/code.py", **path)
    assert done.returncode == 0, done.stderr
    assert f"the copy: {paths}" in done.stdout


def test_a_checkout_reached_through_a_link_is_the_same_checkout(copy, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(copy, target_is_directory=True)
    for folder, path in ((link, link / "src"), (copy, link / "src"), (link, copy / "src")):
        done = stage(folder, "stages/code.py", PYTHONPATH=str(path))
        assert (done.returncode, done.stderr) == (0, "")


def test_edited_code_does_not_train_under_the_old_listing(copy):
    losses = copy / "src" / "l2dynamics" / "training" / "losses.py"
    text = losses.read_text(encoding="utf-8")
    losses.write_text(text.replace("/ (2 * classes)", "/ (3 * classes)"), encoding="utf-8")
    assert losses.read_text(encoding="utf-8") != text
    before = {file: file.read_bytes() for file in (copy / "results" / "laptop").glob("*")}
    for words in (("stages/sweep.py", "fc"), ("stages/autol2.py", "fc"), ("stages/measure_c.py",)):
        done = stage(copy, *words)
        assert done.returncode == 2
        assert done.stderr.startswith("error: the code has changed since data/code/")
        assert "dvc repro code" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert before == {file: file.read_bytes() for file in (copy / "results" / "laptop").glob("*")}


def test_comments_are_no_other_code(copy):
    losses = copy / "src" / "l2dynamics" / "training" / "losses.py"
    losses.write_text(losses.read_text(encoding="utf-8") + "# nothing\n", encoding="utf-8")
    done = stage(copy, "stages/sweep.py", "nothing_of_that_name")
    assert done.returncode == 2
    assert "section nothing_of_that_name is missing" in done.stderr
