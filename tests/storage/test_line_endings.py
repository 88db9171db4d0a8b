"""Clones under core.autocrlf=true, git's default on Windows: what is compared by checksum keeps its bytes."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

from l2dynamics.data import prepare
from l2dynamics.results import tables
from l2dynamics.results.tables import ResultsError

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
SAMPLE = "data/sample"
#: A table, the sample of MNIST and one file of every other kind that a checksum is compared with.
FILES = (
    ".gitattributes",
    "results/laptop/fc.csv",
    "results/laptop/fc.json",
    "reports/laptop/figures/fig2.svg",
    "reports/laptop/figures/fig2.png",
    "data/manifests/sample/mnist.json",
    "data/code/fig2.txt",
    "constraints.txt",
    "params.yaml",
    "dvc.lock",
    ".ci/run",
    f"{SAMPLE}/SHA256SUMS",
    *(
        f"{SAMPLE}/{p.relative_to(ROOT / SAMPLE)}"
        for p in sorted((ROOT / SAMPLE / "mnist").rglob("*.*"))
        if p.is_file()
    ),
)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def converting_clone(folder: Path, files: tuple[str, ...]) -> Path:
    """A repository of some files of the checkout, cloned as on Windows."""
    origin, clone = folder / "origin", folder / "clone"
    for file in files:
        (origin / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, origin / file)
    git(origin, "init", "-q")
    git(origin, "add", "--force", "-A")
    git(origin, *IDENTITY, "commit", "-q", "-m", "files")
    git(folder, "clone", "-q", "-c", "core.autocrlf=true", origin.as_uri(), str(clone))
    return clone


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_converting_clone_keeps_every_byte(tmp_path):
    clone = converting_clone(tmp_path, FILES)
    assert [file for file in FILES if (clone / file).read_bytes() != (ROOT / file).read_bytes()] == []
    assert json.loads((clone / "results/laptop/fc.json").read_text())["csv_sha256"] == sha256(
        clone / "results/laptop/fc.csv"
    )
    sums = [line.split("  ") for line in (clone / SAMPLE / "SHA256SUMS").read_text().splitlines()]
    mnist = [(expected, file) for expected, file in sums if file.startswith("mnist/")]
    assert len(mnist) == sum(file.startswith(f"{SAMPLE}/mnist/") for file in FILES)
    assert [file for expected, file in mnist if sha256(clone / SAMPLE / file) != expected] == []


def test_without_attributes_the_reason_is_named_and_its_remedy_works(tmp_path):
    clone = converting_clone(tmp_path, FILES[1:])
    with pytest.raises(
        ResultsError, match=r"results/laptop/fc\.csv is damaged: line endings were converted"
    ) as caught:
        tables.load("fc", clone)
    with pytest.raises(ValueError, match="is corrupted: line endings were converted"):
        prepare.check_sample("mnist", clone / SAMPLE)
    # In a clone of some age git no longer compares content: the files are older than the index.
    for file in FILES[1:]:
        os.utime(clone / file, (1, 1))
    git(clone, "update-index", "--refresh")
    (commands,) = re.findall(r"run `(.*?)`", str(caught.value))
    subprocess.run(commands, shell=True, cwd=clone, check=True, capture_output=True)
    assert tables.load("fc", clone).name == "fc"
    prepare.check_sample("mnist", clone / SAMPLE)


def test_everything_generated_is_marked():
    generated = (
        "results/laptop/fc.csv",
        "reports/laptop/index.html",
        "dvc.lock",
        "data/code/fig2.txt",
        "data/manifests/sample/mnist.json",
    )
    command = ["git", "check-attr", "linguist-generated", "--", *generated, "src/l2dynamics/data/datasets.py"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = dict(re.findall(r"^(.*): linguist-generated: (.*)$", done.stdout, re.MULTILINE))
    assert found == {**dict.fromkeys(generated, "set"), "src/l2dynamics/data/datasets.py": "unspecified"}
