"""docs/howto-data.md and docs/howto-model.md, carried out literally in a copy of the checkout: each trains a sweep."""

import json
import sys

import guides
import numpy as np
import pandas as pd
import pytest
from places import ROOT


def text_of(page):
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def trained(copy, name):
    """The passport and the table of a sweep, complete and of finite numbers."""
    passport = json.loads((copy / "results" / "smoke" / f"{name}.json").read_text())
    table = pd.read_csv(copy / "results" / "smoke" / f"{name}.csv")
    assert (passport["status"], passport["runs"], passport["diverged"]) == ("done", 3, 0)
    assert sorted(table["l2"].unique()) == [0.02, 0.05, 0.1]
    assert np.isfinite(table["test_loss"]).all()
    return passport, table


@pytest.mark.executes("dvc repro sweep@stripes_fc", "docs/howto-data.md#*")
def test_own_data(tmp_path):
    guide = text_of("howto-data.md")
    copy = guides.copy_of_the_checkout(tmp_path / "checkout")
    folder = tmp_path / "tfds"
    (tmp_path / "prepare.py").write_text(guides.block(guide, "1.", "python"), encoding="utf-8")
    guides.run(f"{sys.executable} {tmp_path / 'prepare.py'}", tmp_path, TFDS_DATA_DIR=str(folder))
    package = copy / "src" / "l2dynamics"
    specs, line = package / "data" / "specs.py", guides.block(guide, "2.", "python")
    guides.replace(specs, "\n}\n\n\ndef spec(", f"\n{line}}}\n\n\ndef spec(")
    guides.replace_line(package / "experiments" / "setup.py", guides.block(guide, "3.", "text"))
    dag = copy / "dvc.yaml"
    guides.replace(dag, "stages:\n", "stages:\n" + guides.block(guide, "4.", "yaml"))
    guides.replace(
        dag, "  sweep:\n    foreach:\n", "  sweep:\n    foreach:\n" + guides.block(guide, "4.", "text")
    )
    guides.append(copy / "scales" / "smoke.yaml", guides.block(guide, "5.", "yaml"))
    guides.replace(copy / "params.yaml", "source: sample", "source: tfds")

    command = guides.block(guide, "5.", "console").removeprefix("$ ")
    output = guides.run(command, copy, TFDS_DATA_DIR=str(folder))
    assert guides.stages_run(output) == ["code", "data_stripes", "sweep@stripes_fc"]
    manifest = json.loads((copy / "data" / "manifests" / "tfds" / "stripes.json").read_text())
    assert manifest["splits"] == {"train": 256, "test": 128}
    passport, table = trained(copy, "stripes_fc")
    assert (passport["data"]["name"], passport["classes"]) == ("stripes", 4)
    assert table["test_accuracy"].max() > 0.9, "a white stripe is easy to see"


@pytest.mark.executes("dvc repro sweep@mine", "docs/howto-model.md#*")
def test_own_model(tmp_path):
    guide = text_of("howto-model.md")
    copy = guides.copy_of_the_checkout(tmp_path)
    package = copy / "src" / "l2dynamics"
    (package / "models" / "mine.py").write_text(guides.block(guide, "1.", "python"), encoding="utf-8")
    guides.replace(
        package / "experiments" / "setup.py",
        "Model = Annotated[",
        guides.block(guide, "2.", "python") + "\n\nModel = Annotated[",
    )
    guides.replace_line(package / "experiments" / "setup.py", guides.block(guide, "2.", "text"))
    ending = '    raise ValueError(f"model.kind:'
    guides.replace(package / "models" / "networks.py", ending, guides.block(guide, "3.", "python") + ending)
    dag = copy / "dvc.yaml"
    guides.replace(
        dag, "  sweep:\n    foreach:\n", "  sweep:\n    foreach:\n" + guides.block(guide, "4.", "text")
    )
    guides.append(copy / "scales" / "smoke.yaml", guides.block(guide, "4.", "yaml"))

    output = guides.run(guides.block(guide, "4.", "console").removeprefix("$ "), copy)
    assert guides.stages_run(output) == ["code", "data@mnist", "sweep@mine"]
    assert "src/l2dynamics/models/mine.py" in (copy / "data" / "code" / "sweep.txt").read_text()
    passport, _ = trained(copy, "mine")
    assert passport["setup"]["model"] == {"kind": "mine", "width": 16}
