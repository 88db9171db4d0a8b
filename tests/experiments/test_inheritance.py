"""Setups by name: what a section inherits, what it changes, and which sections a change of one value reaches."""

import copy
import io
import json
import re

import guides
import pytest
from places import ROOT
from ruamel.yaml import YAML

from l2dynamics.experiments import inheritance, messages, registry, scales
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.schema import AutoL2Sweep, MeasureCs, Sweep
from l2dynamics.experiments.setup import Setup

ROOT = ROOT
SECTIONS = {
    **dict.fromkeys(registry.SWEEPS, Sweep),
    **{f"autol2.{name}": AutoL2Sweep for name in registry.AUTOL2},
    "measure_c": MeasureCs,
}
FC = {
    "data": {"name": "mnist", "train": 64},
    "model": {"kind": "fc", "width": 8},
    "batch": 32,
    "sigma_w": 1.0,
    "schedule": {"factor": 0.2, "at": [0.5]},
}
SETUPS = {"fc": FC, "fast": {"from": "fc", "momentum": 0.9}, "third": {"from": "fast"}, "broken": 3}
GRIDS = [{"eta": [0.1], "l2": [0.1], "length": {"epochs": 3}}]


def resolved(setup, setups=SETUPS):
    section, inherited = inheritance.resolve({"setups": setups}, {"setup": setup}, "wrn")
    return section["setup"], list(inherited)


@pytest.mark.parametrize(
    ("setup", "changed", "inherited"),
    [
        ({"from": "fc"}, {}, ["fc"]),
        ({"from": "fast"}, {"momentum": 0.9}, ["fc", "fast"]),
        ({"from": "fast", "momentum": 0.5, "batch": 16}, {"momentum": 0.5, "batch": 16}, ["fc", "fast"]),
        ({"from": "fc", "data": {"train": 32}}, {"data": {"name": "mnist", "train": 32}}, ["fc"]),
        ({"from": "fc", "model": {"width": 4}}, {"model": {"kind": "fc", "width": 4}}, ["fc"]),
        ({"from": "fc", "model": {"kind": "fc", "depth": 1}}, {"model": {**FC["model"], "depth": 1}}, ["fc"]),
        ({"from": "fc", "model": {"kind": "wrn"}}, {"model": {"kind": "wrn"}}, ["fc"]),
        ({"from": "fc", "schedule": {"at": [0.7]}}, {"schedule": {"factor": 0.2, "at": [0.7]}}, ["fc"]),
        ({"from": "fc", "schedule": None}, {"schedule": None}, ["fc"]),
        (FC, {}, []),
    ],
)
def test_what_stands_beside_from_wins(setup, changed, inherited):
    before = copy.deepcopy((setup, SETUPS))
    assert resolved(setup) == ({**FC, **changed}, inherited)
    assert (setup, SETUPS) == before


def test_every_part_of_a_section_inherits():
    content = {"setups": SETUPS}
    parts = {"fc": {"setup": {"from": "fast"}}, "cnn": {"setup": {"from": "fc", "batch": 8}}, "other": 3}
    found, inherited = inheritance.resolve(content, parts, "measure_c")
    assert found == {
        "fc": {"setup": {**FC, "momentum": 0.9}},
        "cnn": {"setup": {**FC, "batch": 8}},
        "other": 3,
    }
    assert inherited == {"fc": FC, "fast": {**FC, "momentum": 0.9}}


def scale_file(folder, **changes):
    content = {"setups": SETUPS, "fc": {"setup": {"from": "fast"}, "grids": GRIDS}, **changes}
    (folder / "scales").mkdir()
    YAML().dump(copy.deepcopy(content), folder / "scales" / "smoke.yaml")
    return folder


def with_setup(setup):
    return {"fc": {"setup": setup, "grids": GRIDS}}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            with_setup({"from": "cnn"}),
            "fc: setup.from: 'cnn' is not in setups: choose one of fc, fast, third, broken",
        ),
        (
            with_setup({"from": ["fc"]}),
            "fc: setup.from: ['fc'] is not in setups: choose one of fc, fast, third, ",
        ),
        (with_setup({"from": None}), "fc: setup.from: None is not in setups: choose one of "),
        (
            with_setup({"from": "third"}),
            "setups.third: from: fast inherits a setup itself: name one without from",
        ),
        (with_setup({"from": "broken"}), "setups.broken: must be a mapping (got 3): write data, model, …"),
        ({"setups": {}}, "fc: setup.from: there is no setup to inherit: add a section setups with one"),
        ({"setups": [1]}, "fc: setup.from: there is no setup to inherit: add a section setups with one"),
        # A wrong value is named where it stands.
        (
            {"setups": {**SETUPS, "fc": {**FC, "batch": "x"}}},
            "setups.fc: batch: Input should be a valid integer",
        ),
        (
            {"setups": {**SETUPS, "fast": {"from": "fc", "momentum": 9}}},
            "setups.fast: momentum: Input should be less",
        ),
        (
            {"setups": {**SETUPS, "fast": {"from": "fc", "bacth": 9}}},
            "setups.fast: bacth: Extra inputs are not",
        ),
        (with_setup({"from": "fc", "batch": "x"}), "fc: setup.batch: Input should be a valid integer"),
        (
            with_setup({"from": "fc", "data": {"train": 16}}),
            "fc: setup: batch 32 is larger than data.train 16",
        ),
        (
            with_setup({"from": "fc", "data": {"tarin": 1}}),
            "fc: setup.data.tarin: Extra inputs are not permitted",
        ),
        (
            with_setup({"from": "fc", "model": {"kind": "cnn"}}),
            "fc: setup.model.channels: Field required: add it",
        ),
        (with_setup("fc"), "fc: setup: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_field_and_remedy(tmp_path, changes, line):
    with pytest.raises(ConfigError, match="^" + re.escape(f"scales/smoke.yaml: {line}")) as raised:
        scales.load_section(scale_file(tmp_path, **changes), "smoke", "fc", Sweep)
    assert "\n" not in str(raised.value)


def test_a_part_is_named_as_it_stands_in_the_file(tmp_path):
    root = scale_file(tmp_path, measure_c={"fc": {"setup": {"from": "x"}}})
    with pytest.raises(
        ConfigError, match=r"^scales/smoke.yaml: measure_c: fc\.setup\.from: 'x' is not in setups"
    ):
        scales.load_section(root, "smoke", "measure_c", MeasureCs)


# ------------------------------------------------------------------- what a change of one value reaches


def sections(content):
    """Every section of a scale file as `config.load_section` checks it, from one reading of the file."""
    found = {}
    for name, kind in SECTIONS.items():
        node = content
        for part in name.split("."):
            node = node[part]
        found[name] = messages.check(kind, inheritance.resolve(content, node, name)[0], name)
    return found


def leaves(node, path=()):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def reached(path, value):
    """The sections that are others once a value of the file is another.

    The file is read and written by ruamel.yaml as DVC does it, comments and anchors and all, and then read by us.
    """
    yaml = YAML()
    content = yaml.load((ROOT / "scales" / "smoke.yaml").read_text(encoding="utf-8"))
    node = content
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    text = io.StringIO()
    yaml.dump(content, text)
    after = sections(YAML(typ="safe").load(text.getvalue()))
    return {name for name, before in BEFORE.items() if after[name] != before}


def inheriting(path, content):
    """The sections that a value of setups: reaches, by the names that stand in the file."""
    _, setup, *rest = path

    def says(node):
        for part in rest:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    named = {setup}
    named |= {
        name for name, other in content["setups"].items() if other.get("from") == setup and not says(other)
    }
    found = set()
    for name in SECTIONS:
        node = content
        for part in name.split("."):
            node = node[part]
        parts = node.values() if name == "measure_c" else [node]
        if any(part["setup"]["from"] in named and not says(part["setup"]) for part in parts):
            found.add(name)
    return found


NUMBERS = {"batch": 16, "sigma_w": 0.7, "eval_batch": 32, "momentum": 0.5, "train": 200, "test": 100}


CONTENT = scales.read_yaml(ROOT / "scales" / "smoke.yaml")
BEFORE = sections(CONTENT)
VALUES = [path for path in leaves({"setups": CONTENT["setups"]}) if path[-1] in NUMBERS]


@pytest.mark.parametrize("path", VALUES, ids=".".join)
def test_a_value_of_a_setup_reaches_exactly_the_sections_that_inherit_it(path):
    wanted = inheriting(path, CONTENT)
    assert wanted
    assert reached(path, NUMBERS[path[-1]]) == wanted


def test_values_of_every_setup_were_tried():
    assert {path[1] for path in VALUES} == set(CONTENT["setups"])
    assert {path[-1] for path in VALUES} == set(NUMBERS)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_value_beside_from_reaches_exactly_that_section(name):
    part = [*name.split("."), *(["fc"] if name == "measure_c" else [])]
    assert reached([*part, "setup", "eval_batch"], 16) == {name}


@pytest.mark.parametrize("scale", scales.SCALES)
def test_setups_are_complete_and_no_two_are_alike(scale):
    content = scales.read_yaml(ROOT / "scales" / f"{scale}.yaml")
    assert len(content["setups"]) == 11
    made = []
    for name in content["setups"]:
        section, _ = inheritance.resolve(content, {"setup": {"from": name}}, name)
        made.append(messages.check(Setup, section["setup"], name))
    assert len(set(map(repr, made))) == len(made)


# ----------------------------------------------------------------------------------------- as documented

GUIDE = (ROOT / "docs" / "howto-pipeline.md").read_text(encoding="utf-8")
EXPERIMENTS = guides.block(GUIDE, "One setup for several sections", "console").splitlines()


@pytest.mark.executes("docs/howto-pipeline.md#One setup for several sections:yaml")
def test_the_setup_of_the_guide_is_what_the_guide_says():
    content = YAML(typ="safe").load(guides.block(GUIDE, "One setup for several sections", "yaml"))
    found, _ = inheritance.resolve(content, content["wrn_aug"], "wrn_aug")
    assert Setup.model_validate(found["setup"]) == Setup.model_validate(
        {
            "data": {"name": "cifar10", "train": 512},
            "model": {"kind": "wrn", "depth": 10, "widen": 1},
            "batch": 32,
            "sigma_w": 1.0,
            "momentum": 0.9,
            "augment": True,
        }
    )


@pytest.mark.executes(
    "dvc exp run -S scale=smoke -S 'scales/smoke.yaml:setups.fc.batch=64' fig@S5",
    "dvc exp run -S scale=smoke -S 'scales/smoke.yaml:+fc_mse.setup.batch=64' fig@S5",
)
@pytest.mark.e2e
def test_dvc_changes_a_setup_or_one_section_as_the_guide_says(tmp_path):
    root = guides.copy_of_the_checkout(tmp_path)
    guides.replace(root / "params.yaml", "scale: smoke", "scale: laptop")
    identity = "-c user.name=test -c user.email=test@example.invalid"
    guides.run("git add -A", root)
    guides.run(f"git {identity} commit -q -m copy", root)
    shared, alone = (line.removeprefix("$ ").replace("'", "") for line in EXPERIMENTS)

    def batches():
        found = sections(scales.read_yaml(root / "scales" / "smoke.yaml"))
        return {name: found[name].setup.batch for name in ("fc", "fc_mse", "autol2.fc", "cnn")}

    was = batches()
    assert guides.stages_run(guides.run(shared, root)) == [
        "code",
        "data@mnist",
        "sweep@fc_mse",
        "fig@S5",
    ]
    assert batches() == {**was, "fc": 64, "fc_mse": 64, "autol2.fc": 64}
    assert json.loads((root / "results" / "smoke" / "fc_mse.json").read_text())["setup"]["batch"] == 64
    guides.run("git checkout -q scales params.yaml", root)
    assert batches() == was
    guides.run(alone, root)
    assert batches() == {**was, "fc_mse": 64}
    assert json.loads((root / "results" / "smoke" / "fc_mse.json").read_text())["setup"]["batch"] == 64
    guides.run("dvc repro fig@S5", root)
