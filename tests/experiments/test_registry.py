"""The registry against what it must agree with: dvc.yaml, the scales, the figures, MLflow's names, results' names."""

import re

import pytest
from places import ROOT

from l2dynamics.experiments import registry, scales, schema
from l2dynamics.figures import gallery
from l2dynamics.pipeline import cost, dag
from l2dynamics.results import tables
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.tracking import catalog

STAGES = dag.read(ROOT)["stages"]
SECTIONS = {"sweep": schema.Sweep, "autol2": schema.AutoL2Sweep}
EXPERIMENTS = pytest.mark.parametrize("one", registry.EXPERIMENTS, ids=lambda one: one.stage)

TITLES = """\
fc — MNIST (Fig. 2a–c, S1a, S6, S11)
fc_mse — MNIST, mean squared error (Fig. S5)
fc_small — CIFAR-10, under-parametrised (Fig. S7)
cnn — CIFAR-10 (Fig. 3a–c, S6, S11)
cnn_bn — CIFAR-10, batch normalisation (Fig. 3d–f, S11)
wrn — CIFAR-10 (Fig. 2d–f, S1b, S6)
wrn_aug — CIFAR-10, momentum (Fig. 1b–c, 4b, S2–S4, S9)
wrn_schedule — CIFAR-10, learning rate schedule (Fig. 1a, S10, S12)
resnet — under-parametrised (Fig. S8)
measure_c — the coefficient c (Fig. 4a)
theory — wide networks (Sec. 4, Fig. 5)
report — figures and claims
beyond — not in the paper (Fig. X1–X4)
"""


def test_the_experiments_keep_the_names_and_ids_under_which_stores_hold_them():
    assert [one.title for one in catalog.ALL] == TITLES.splitlines()
    assert [catalog.number(one) for one in catalog.ALL] == list(range(1, 14))


@EXPERIMENTS
def test_names_of_stage_results_and_section_agree(one):
    assert tables.stage(one.name) == one.stage
    assert registry.find(one.name) is one
    assert one.group in {group.name for group in registry.GROUPS}
    held = [entry.setup for entry in (*catalog.EXPERIMENTS, catalog.THEORY) if one.name in entry.results]
    assert held == ([] if one.kind == "theory" else [one.group])


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_dag_trains_the_experiments_of_the_registry(kind):
    each = STAGES[kind]["foreach"]
    wanted = {one.key: one for one in registry.EXPERIMENTS if one.kind == kind}
    assert list(each) == list(wanted)
    for key, item in each.items():
        one = wanted[key]
        assert str(item["figures"]) == ", ".join(one.panels)
        assert {item["data"], item["also"]} == set(one.data) & {"mnist", "cifar10"}
        assert (item.get("c") == "results/${scale}/measure_c.json") == one.needs_c


@EXPERIMENTS
def test_the_dag_has_its_stage_and_its_data(one):
    stage = STAGES[one.kind]
    body = stage.get("do", stage)
    read = {
        name
        for dep in body["deps"]
        if isinstance(dep, str)
        for name in re.findall(r"manifests/\S+/(\w+)\.", dep)
    }
    assert read == (set() if one.key else set(one.data))


@pytest.mark.parametrize("scale", scales.SCALES)
@EXPERIMENTS
def test_every_scale_runs_it_on_its_data(one, scale):
    model = {**SECTIONS, "measure_c": schema.MeasureCs, "theory": TheoryConfig}[one.kind]
    section = scales.load_section(ROOT, scale, one.section, model)
    if one.kind == "measure_c":
        assert {measure.setup.data.name for _, measure in section} <= set(one.data)
    elif one.kind != "theory":
        assert section.setup.data.name in one.data
        assert registry.MODELS[section.setup.model.kind]


def test_the_paper_scale_has_the_learning_rates_of_the_single_panels():
    for one in registry.EXPERIMENTS:
        if one.kind == "sweep":
            section = scales.load_section(ROOT, "paper", one.section, schema.Sweep)
            assert one.eta in {eta for grid in section.grids for eta in grid.eta}, one.stage
        elif one.kind == "autol2":
            assert scales.load_section(ROOT, "paper", one.section, schema.AutoL2Sweep).eta == one.eta
    assert {one.stage for one in registry.EXPERIMENTS if one.eta is None} == {"theory"}


@pytest.mark.parametrize("scale", scales.SCALES)
def test_a_plan_has_its_stages(scale):
    measured = [f"measure_c ({name})" for name in schema.MeasureCs.model_fields]
    trained = [one.stage for one in registry.EXPERIMENTS if one.kind in SECTIONS]
    assert [stage for stage, _, _ in cost.stages(ROOT, scale)] == measured + trained


@pytest.mark.parametrize("figure", registry.FIGURES, ids=lambda figure: figure.name)
def test_a_figure_reads_the_results_that_it_shows(figure):
    assert set(gallery.module(figure.name).RESULTS) == set(figure.results)


def test_the_figures_are_those_of_the_paper_then_ours_and_the_dag_calls_them_the_same():
    names = (
        [f"fig{n}" for n in range(1, 6)]
        + [f"figS{n}" for n in range(1, 13)]
        + [f"figX{n}" for n in range(1, 6)]
    )
    assert [figure.name for figure in registry.FIGURES] == names
    each = STAGES["fig"]["foreach"]
    assert {f"fig{key}": item["shows"] for key, item in each.items()} == {
        figure.name: figure.title for figure in registry.FIGURES
    }
    for figure in registry.FIGURES:
        item = each[figure.name.removeprefix("fig")]
        assert {item[place] for place in "abcd"} == set(figure.results), figure.name


@pytest.mark.parametrize(
    ("panels", "merged"),
    [
        (["1b", "4b", "S2", "S3", "S4", "1c", "S9"], "1b–c, 4b, S2–S4, S9"),
        (["S6", "2a–c", "S11"], "2a–c, S6, S11"),
        (["2d–f", "2a–c"], "2a–f"),
        (["5", "S6", "6a"], "5, 6a, S6"),
        (["3a", "3c", "4b"], "3a, 3c, 4b"),
    ],
)
def test_neighbouring_panels_are_written_as_one(panels, merged):
    assert registry._merged(panels) == merged


def test_panels_lead_to_figures_and_nonsense_is_refused():
    assert [registry.figure_of(panel) for panel in ("2a–c", "1b", "S7")] == ["fig2", "fig1", "figS7"]
    with pytest.raises(ValueError, match="'fig2' is no panel of the paper: write 2a–c, 1b or S7"):
        registry.figure_of("fig2")


def test_a_sweep_that_the_paper_has_not_is_called_by_its_name():
    assert registry.find("mine") is None
    assert registry.title("mine") == "mine"
    assert registry.labels(["mine", "cnn"]) == {"mine": "mine", "cnn": "CNN No BN"}


def test_a_better_word_trains_nothing_again():
    for stage in ("data", "measure_c", "sweep", "autol2", "theory"):
        listed = (ROOT / "data" / "code" / f"{stage}.txt").read_text(encoding="utf-8")
        assert "experiments/registry.py" not in listed, stage
