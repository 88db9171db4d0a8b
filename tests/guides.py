"""What the tests of the guides share: a copy of the checkout to carry them out in, and their code blocks."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from places import ROOT

from l2dynamics.pipeline import dag

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
    "constraints.txt",
)


def copy_of_the_checkout(folder):
    """Code, data and parameters as a fresh git repository, at scale smoke."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *NEEDED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    replace(folder / "params.yaml", "scale: laptop", "scale: smoke")
    return folder


def stage(name, run_name="stage"):
    """What ``stages/<name>.py`` defines; its folder is first on the path, as where Python is called with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "stages")
        return SimpleNamespace(**runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name=run_name))


def block(guide, heading, kind):
    """The one code block of this kind under a heading of a guide's text, named by its beginning."""
    section = re.split(r"\n##+ ", guide.partition(f"## {heading}")[2])[0]
    (code,) = re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)
    return code


def replace(path, old, new):
    """Replace a text that occurs once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name}: {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def replace_line(path, line):
    """Put a line in the place of the one that begins alike, up to the first bracket."""
    begin = line.partition("[")[0].partition("{")[0]
    (old,) = [found for found in path.read_text(encoding="utf-8").splitlines() if found.startswith(begin)]
    replace(path, f"{old}\n", line.rstrip("\n") + "\n")


def append(path, text):
    """Add a paragraph at the end."""
    path.write_text(path.read_text(encoding="utf-8") + "\n" + text, encoding="utf-8")


def run(command, folder, **variables):
    """Run a command as a user of the copy would; return what it prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "src"),
        "DVC_NO_ANALYTICS": "1",
        "L2DYNAMICS_TRACKING": "off",
        **variables,
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("L2DYNAMICS_ROOT", None)
    done = subprocess.run(command.split(), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stage_names():
    """Every stage of dvc.yaml as DVC prints it, such as ``sweep@fc``."""
    stages = dag.read(ROOT)["stages"].items()
    return {f"{name}@{key}" if key else name for name, stage in stages for key in stage.get("foreach", [""])}


def stages_run(output):
    """The stages that ``dvc repro`` says it ran."""
    return re.findall(r"Running stage '(\S+)'", output)
