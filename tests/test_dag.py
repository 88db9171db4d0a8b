"""dvc.yaml against the code: dependencies, nodes, outputs."""

import importlib
from pathlib import Path

import pytest

from l2dynamics.experiments import registry, scales, schema
from l2dynamics.figures import gallery
from l2dynamics.pipeline import dag

ROOT = Path(__file__).parents[1]
STAGES = dag.read(ROOT)["stages"]
LISTINGS = dag.listings(ROOT)
FIGURES = [f"fig{n}" for n in range(1, 6)] + [f"figS{n}" for n in range(1, 13)]


def body(name):
    stage = STAGES[name]
    return stage.get("do", stage)


def code_of(name):
    """Files that a stage executes."""
    return {line.split()[1] for line in LISTINGS[name].splitlines()}


def names(entries):
    """Paths of dependencies, outputs or plots, whose entries are a string or a mapping with options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def produced(name):
    kinds = ("outs", "plots", "metrics")
    return [path for kind in kinds for path in names(body(name).get(kind, []))]


def expanded(text, key, item):
    """``text`` with the placeholders of one instance of a foreach stage filled in."""
    text = text.replace("${key}", str(key)).replace("${item}", str(item))
    if isinstance(item, dict):
        for field, value in item.items():
            text = text.replace("${item." + field + "}", str(value))
    return text


def instances():
    """(name of the stage as DVC prints it, body, function that fills in placeholders)."""
    for name, stage in STAGES.items():
        if "foreach" not in stage:
            yield name, stage, str
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


@pytest.mark.parametrize("name", [name for name in STAGES if name != "code"])
def test_every_stage_depends_on_the_list_of_its_code_and_that_list_is_true(name):
    deps = names(body(name)["deps"])
    assert [dep for dep in deps if dep.startswith("data/code")] == [f"data/code/{name}.txt"]
    assert not any(dep.endswith(".py") for dep in deps)
    listed = (ROOT / "data" / "code" / f"{name}.txt").read_text(encoding="utf-8")
    assert listed == LISTINGS[name], "run `dvc repro code`"


def test_the_lists_are_those_of_the_stages_and_of_their_scripts():
    assert set(LISTINGS) == set(STAGES) - {"code"}
    assert {path.stem for path in (ROOT / "data" / "code").iterdir()} == set(LISTINGS)
    for name in LISTINGS:
        script = body(name)["cmd"].split()[1]
        assert script in code_of(name)
        assert all(file.startswith(("src/l2dynamics/", "stages/")) for file in code_of(name))
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
        "track",
        *FIGURES,
    }
    wanted |= {f"sweep@{name}" for name in registry.SWEEPS} | {f"autol2@{name}" for name in registry.AUTOL2}
    assert set(INSTANCES) == wanted
    assert tuple(gallery.NAMES) == tuple(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_node_that_reads_its_results_and_never_trains(name):
    module = importlib.import_module(f"l2dynamics.figures.{name}")
    deps = names(body(name)["deps"])
    wanted = {f"results/{result}.{kind}" for result in module.RESULTS for kind in ("csv", "json")}
    assert {dep for dep in deps if dep.startswith("results/")} == wanted
    assert set(produced(name)) == {
        f"reports/figures/{name}.png",
        f"reports/figures/{name}.svg",
        f"reports/figures/data/{name}.csv",
    }
    assert names(body(name)["params"]) == ["figures.style"]
    trainers = ("src/l2dynamics/training/", "src/l2dynamics/running/", "src/l2dynamics/theory/experiments.py")
    assert not [file for file in code_of(name) if file.startswith(trainers)]


def test_every_result_is_made_by_one_stage_and_used():
    made = [
        fill(path)
        for name, (stage, fill) in INSTANCES.items()
        for kind in ("outs", "plots", "metrics")
        for path in names(stage.get(kind, []))
    ]
    assert len(set(made)) == len(made)
    used = {fill(dep) for stage, fill in INSTANCES.values() for dep in names(stage["deps"])}
    tables = {path for path in made if path.startswith("results/") and path.endswith(".csv")}
    used_by_figures = {dep for dep in used if dep.startswith("results/") and dep.endswith(".csv")}
    assert tables == used_by_figures
    made_or_tracked = set(made) | {"results", "reports/claims", "reports/figures", "constraints.txt"}
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
    kind, _, key = name.partition("@")
    section = {"sweep": key, "autol2": f"autol2.{key}", "measure_c": "measure_c"}[kind]
    assert [fill(s) for s in sections] == [section]
    deps = {fill(dep) for dep in names(stage["deps"])}
    assert "constraints.txt" in deps
    wanted = scales.load_section(
        ROOT, "laptop", "measure_c" if kind == "measure_c" else section, _model(kind)
    )
    setups = [wanted.fc, wanted.cnn, wanted.wrn] if kind == "measure_c" else [wanted]
    for setup in {s.setup.data.name for s in setups}:
        assert f"data/manifests/{setup}.json" in deps
    assert not any("executor" in str(entry) for entry in stage["params"]), "it changes no number"


def _model(kind):
    return {"sweep": schema.Sweep, "autol2": schema.AutoL2Sweep, "measure_c": schema.MeasureCs}[kind]


@pytest.mark.parametrize("scale", scales.SCALES)
def test_sweeps_with_predicted_runs_depend_on_the_measured_c(scale):
    for name in registry.SWEEPS:
        section = scales.load_section(ROOT, scale, name, schema.Sweep)
        stage, fill = INSTANCES[f"sweep@{name}"]
        reads = "results/measure_c.json" in {fill(dep) for dep in names(stage["deps"])}
        assert reads == (section.predicted is not None), (scale, name)
