"""dvc.yaml against the code: dependencies, nodes, outputs."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from ruamel.yaml import YAML

from l2dynamics.experiments import inheritance, registry, scales, schema
from l2dynamics.figures import gallery
from l2dynamics.pipeline import dag

STAGES = dag.read(ROOT)["stages"]
LISTINGS = dag.listings(ROOT)
FIGURES = [f"fig{n}" for n in range(1, 6)] + [f"figS{n}" for n in range(1, 13)]
FIGURES += [f"figX{n}" for n in range(1, 6)]
FIGURE_STAGES = {name: name.replace("fig", "fig@") for name in FIGURES}


def body(name):
    stage = STAGES[name]
    return stage.get("do", stage)


def listing_of(instance):
    """The list of its code that an instance depends on: one for each figure, else one for each kind of stage."""
    kind, _, key = instance.partition("@")
    return f"fig{key}" if kind == "fig" else kind


def code_of(name):
    """Files that a stage executes."""
    return {line.split()[1] for line in LISTINGS[name].splitlines()}


def names(entries):
    """Paths of dependencies, outputs or plots, whose entries are a string or a mapping with options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def produced(instance):
    stage, fill = INSTANCES[instance]
    kinds = ("outs", "plots", "metrics")
    return [fill(path) for kind in kinds for path in names(stage.get(kind, []))]


def expanded(text, key, item):
    """``text`` with the placeholders of one instance of a foreach stage filled in."""
    text = text.replace("${key}", str(key)).replace("${item}", str(item))
    if isinstance(item, dict):
        for field, value in item.items():
            text = text.replace("${item." + field + "}", str(value))
    return in_force(text)


def in_force(text):
    """``text`` with the placeholders of params.yaml filled in, as committed."""
    return str(text).replace("${scale}", "laptop").replace("${data.source}", "sample")


def instances():
    """(name of the stage as DVC prints it, body, function that fills in placeholders)."""
    for name, stage in STAGES.items():
        if "foreach" not in stage:
            yield name, stage, in_force
            continue
        each = stage["foreach"]
        items = each.items() if isinstance(each, dict) else ((item, item) for item in each)
        for key, item in items:
            yield (
                f"{name}@{key}",
                stage["do"],
                lambda text, key=key, item=item: expanded(str(text), key, item),
            )


INSTANCES = {name: (stage, fill) for name, stage, fill in instances()}


@pytest.mark.parametrize("instance", [name for name in INSTANCES if name != "code"])
def test_every_stage_depends_on_the_list_of_its_code_and_that_list_is_true(instance):
    stage, fill = INSTANCES[instance]
    deps = [fill(dep) for dep in names(stage["deps"])]
    name = listing_of(instance)
    assert [dep for dep in deps if dep.startswith("data/code")] == [f"data/code/{name}.txt"]
    assert not any(dep.endswith(".py") for dep in deps)
    listed = (ROOT / "data" / "code" / f"{name}.txt").read_text(encoding="utf-8")
    assert listed == LISTINGS[name], "run `dvc repro code`"


def test_the_lists_are_those_of_the_stages_and_of_their_scripts():
    assert set(LISTINGS) == {listing_of(name) for name in INSTANCES} - {"code"}
    assert {path.stem for path in (ROOT / "data" / "code").iterdir()} == set(LISTINGS)
    for instance, (stage, _) in INSTANCES.items():
        if instance == "code":
            continue
        code = code_of(listing_of(instance))
        assert stage["cmd"].split()[1] in code
        assert all(file.startswith(("src/l2dynamics/", "stages/")) for file in code)
    assert names(STAGES["code"]["deps"]) == ["src/l2dynamics", "stages"]


def test_another_copy_of_the_package_is_refused(tmp_path):
    (tmp_path / "stages").mkdir()
    with pytest.raises(ValueError, match="PYTHONPATH=src"):
        dag.listings(tmp_path)


def test_the_stages_of_the_fixed_interface_exist():
    wanted = {
        "code",
        "data@mnist",
        "data@cifar10",
        "measure_c",
        "theory",
        "claims",
        "report",
        "overview",
        "track",
        *FIGURE_STAGES.values(),
    }
    wanted |= {f"sweep@{name}" for name in registry.SWEEPS} | {f"autol2@{name}" for name in registry.AUTOL2}
    assert set(INSTANCES) == wanted
    assert tuple(gallery.NAMES) == tuple(FIGURES)
    assert {name: gallery.stage(name) for name in gallery.NAMES} == FIGURE_STAGES


def test_dvc_reads_the_same_stages_in_a_file_of_few_lines():
    """In YAML an unquoted 1 is no text; DVC prints what it understood."""
    command = [str(Path(sys.executable).parent / "dvc"), "stage", "list", "--name-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == list(INSTANCES)
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_node_that_reads_its_results_and_never_trains(name):
    module = importlib.import_module(f"l2dynamics.figures.{name}")
    instance = FIGURE_STAGES[name]
    stage, fill = INSTANCES[instance]
    assert fill(stage["cmd"]) == f"python stages/figure.py {name}"
    # A passport holds the checksum of its table, and `history.load` refuses another table.
    deps = {fill(dep) for dep in names(stage["deps"])}
    assert deps == {f"data/code/{name}.txt", *(f"results/laptop/{result}.json" for result in module.RESULTS)}
    assert set(produced(instance)) == {
        f"reports/laptop/figures/{name}.png",
        f"reports/laptop/figures/{name}.svg",
        f"reports/laptop/figures/data/{name}.csv",
    }
    assert names(stage["params"]) == ["figures.style"]
    assert fill(stage["desc"]).startswith(f"Figure {name.removeprefix('fig')}: ")
    assert "$" not in fill(stage["desc"])
    trainers = ("src/l2dynamics/training/", "src/l2dynamics/running/", "src/l2dynamics/theory/descent.py")
    assert (ROOT / trainers[-1]).is_file()
    assert not [file for file in code_of(name) if file.startswith(trainers)]


def test_every_result_is_made_by_one_stage_and_used():
    made = [path for name in INSTANCES for path in produced(name)]
    assert len(set(made)) == len(made)
    used = {fill(dep) for stage, fill in INSTANCES.values() for dep in names(stage["deps"])}
    passports = {path for path in made if path.startswith("results/laptop/") and path.endswith(".json")}
    figured = [INSTANCES[name] for name in FIGURE_STAGES.values()]
    used_by_figures = {fill(dep) for stage, fill in figured for dep in names(stage["deps"])}
    assert passports == {dep for dep in used_by_figures if dep.startswith("results/laptop/")}
    assert len(passports) == len(registry.SWEEPS) + len(registry.AUTOL2) + 2
    made_or_tracked = set(made) | {
        "results/laptop",
        "reports/laptop/claims",
        "reports/laptop/figures",
        "constraints.txt",
    }
    for dep in used:
        assert dep in made_or_tracked or (ROOT / dep).exists(), dep


@pytest.mark.parametrize("name", INSTANCES)
def test_results_reports_and_manifests_are_tracked_by_git_not_by_the_cache(name):
    stage, _ = INSTANCES[name]
    for kind in ("outs", "plots", "metrics"):
        for entry in stage.get(kind, []):
            assert not isinstance(entry, str), f"{entry}: needs cache: false"
            (options,) = entry.values()
            assert options["cache"] is False, entry


@pytest.mark.parametrize("name", [n for n in INSTANCES if n.startswith(("sweep@", "autol2@", "measure_c"))])
def test_training_depends_on_scale_seed_source_section_data_and_versions(name):
    stage, fill = INSTANCES[name]
    params = [entry for entry in stage["params"] if isinstance(entry, str)]
    (scaled,) = [entry for entry in stage["params"] if not isinstance(entry, str)]
    assert params == ["scale", "seed", "data.source"]
    ((file, sections),) = scaled.items()
    assert file == "scales/${scale}.yaml"
    kind, section = _section(name)
    declared = {fill(s) for s in sections}
    for scale in scales.SCALES:
        content = scales.read_yaml(ROOT / "scales" / f"{scale}.yaml")
        node = content
        for part in section.split("."):
            node = node[part]
        _, inherited = inheritance.resolve(content, node, section)
        assert inherited, "every setup of the paper is one of setups:"
        assert declared == {section, *(f"setups.{setup}" for setup in inherited)}, scale
    deps = {fill(dep) for dep in names(stage["deps"])}
    assert "constraints.txt" in deps
    wanted = scales.load_section(
        ROOT, "laptop", "measure_c" if kind == "measure_c" else section, _model(kind)
    )
    setups = [wanted.fc, wanted.cnn, wanted.wrn] if kind == "measure_c" else [wanted]
    for setup in {s.setup.data.name for s in setups}:
        assert f"data/manifests/sample/{setup}.json" in deps
    assert not any("executor" in str(entry) for entry in stage["params"]), "it changes no number"


@pytest.mark.parametrize("scale", scales.SCALES)
def test_every_setup_of_a_scale_is_used_by_name(scale):
    text = (ROOT / "scales" / f"{scale}.yaml").read_text(encoding="utf-8")
    tokens = [type(token).__name__ for token in YAML(typ="safe", pure=True).scan(text)]
    assert not {"AnchorToken", "AliasToken"} & set(tokens), "DVC would write them out"
    assert len(tokens) > 100
    used = {
        fill(section).removeprefix("setups.")
        for name, (stage, fill) in INSTANCES.items()
        if name.startswith(("sweep@", "autol2@", "measure_c"))
        for section in stage["params"][-1]["scales/${scale}.yaml"]
        if section.startswith("setups.")
    }
    assert used == set(scales.read_yaml(ROOT / "scales" / f"{scale}.yaml")["setups"])


def _section(instance):
    """Kind of a stage that trains, and its section in a scale file."""
    kind, _, key = instance.partition("@")
    return kind, {"sweep": key, "autol2": f"autol2.{key}", "measure_c": "measure_c"}[kind]


def _model(kind):
    return {"sweep": schema.Sweep, "autol2": schema.AutoL2Sweep, "measure_c": schema.MeasureCs}[kind]


@pytest.mark.parametrize("scale", scales.SCALES)
def test_sweeps_with_predicted_runs_depend_on_the_measured_c(scale):
    for name in registry.SWEEPS:
        section = scales.load_section(ROOT, scale, name, schema.Sweep)
        stage, fill = INSTANCES[f"sweep@{name}"]
        reads = "results/laptop/measure_c.json" in {fill(dep) for dep in names(stage["deps"])}
        assert reads == (section.predicted is not None), (scale, name)
