import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import guides
import matplotlib as mpl
import pandas as pd
import pytest
import synthetic
import worlds
from matplotlib.figure import Figure

from l2dynamics import paths
from l2dynamics.claims import evaluation, judging, times
from l2dynamics.figures import gallery
from l2dynamics.figures.style import AUTO, AUTO_OWN, l2_color
from l2dynamics.report import curves, document, overview, provenance, words
from l2dynamics.results import tables
from l2dynamics.tracking import catalog

THEORY = "A table:\n\n| k | minimum |\n| --- | --- |\n| 2 | yes |\n\n<script>alert(1)</script>\n"
NASTY = "<img src=x onerror=alert(1)> | `a` *b* & _c_ | [d](javascript:x)"


def record(claim="t* ∝ 1/λ. True if it is.", **changed):
    return {
        "claim": claim,
        "figure": "fig2 figS1",
        "paper": -1.0,
        "measured": -0.98,
        "low": -1.05,
        "high": -0.91,
        "n": 45,
        "verdict": "confirmed",
        "level": 0.95,
        "kind": "paper",
        "reason": "exponent of t* on λ: 95% interval −1.05 … −0.91, inside",
        "power": "",
        "exceptions": "",
        "regime": "",
        "scale": "laptop",
        "data": "results/laptop/fc.csv",
    } | changed


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkout with a figure for every name, five claims and two passports."""
    tmp_path = tmp_path_factory.mktemp("made")
    folder = paths.figures(tmp_path)
    (folder / "data").mkdir(parents=True)
    with mpl.rc_context({"svg.hashsalt": "x"}):
        for name in gallery.NAMES:
            figure = Figure(figsize=(2, 1), dpi=60)
            figure.subplots().plot([1, 2])
            caption = f"Figure {name[3:]}. Caption of {name} with λ < 1 & <b>tags</b>."
            for suffix, date in ((".png", {}), (".svg", {"Date": None})):
                figure.savefig(folder / f"{name}{suffix}", metadata={"Description": caption, **date})
            (folder / "data" / f"{name}.csv").write_text("panel,curve,x,y\n")
    evaluation.write(
        {
            "01": record(),
            "01-fc": record(),
            "02": record(verdict="contradicted", claim="t* ∝ 1/(ηλ). It is not."),
            "03": record(
                verdict="not decided", low=None, high=None, level=None, measured=None, power="03-fc: 7 seeds"
            ),
            "c1": record(claim=NASTY, data=NASTY, kind="ours"),
        },
        paths.claims(tmp_path),
    )
    regimes = [
        {"setup": "fc", "eta": 0.15, "train_accuracy": 1.0, "fall": 0.002, "decades": 1.5, "largest_l2": 0.01}
        | {"smallest_l2": 3e-4, "t_star": 140.0, "reasons": []},
        {"setup": "cnn", "eta": 0.5, "reasons": ["no λ = 0"]},
    ]
    (paths.reports(tmp_path) / evaluation.REGIMES).write_text(json.dumps({"setups": regimes}))
    for name in ("fc", "measure_c"):
        one = synthetic.measure_c() if name == "measure_c" else synthetic.results(name, rows())
        tables.write(one, tmp_path)
    return tmp_path


@pytest.fixture
def root(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "root"))


def rows():
    return pd.concat([synthetic.run_rows(eta=0.15, l2=0.01, seed=seed, budget=100) for seed in (0, 1)])


class Page(HTMLParser):
    """What a browser would load, and what it would show."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(root):
    html, _ = document.write(root, THEORY)
    return Page(html.read_text(encoding="utf-8"))


def test_page_loads_nothing_from_elsewhere(page):
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"iframe", "object", "embed"}
        assert "src" not in attributes or attributes["src"].startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert any("default-src 'none'" in a.get("content", "") for _, a in page.tags)


def test_page_shows_every_figure_once_with_caption_data_and_command(page):
    ids = [attributes.get("id") for _, attributes in page.tags]
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len([uri for uri in images if uri.startswith("data:image/")]) == len(gallery.NAMES)
    for name in gallery.NAMES:
        assert ids.count(name) == 1
        assert f"Caption of {name} with λ < 1 & <b>tags</b>." in page.text
        assert f"dvc repro {gallery.stage(name)}" in page.text
        assert any(a.get("href") == f"figures/data/{name}.csv" for _, a in page.tags)


def test_every_link_within_the_page_has_a_target(page):
    ids = {attributes.get("id") for _, attributes in page.tags}
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    inside = {link[1:] for link in links if link.startswith("#")}
    assert {"results", "claims", "figures", "theory", "choices", "making"} <= inside <= ids


def test_links_to_files_exist(root, page):
    elsewhere = ("#", "https:", curves.SERVER)
    files = [a["href"] for tag, a in page.tags if tag == "a" and not a["href"].startswith(elsewhere)]
    assert files
    for file in files:
        assert (root / "reports" / "laptop" / file).is_file(), file


def test_names_from_files_are_escaped(page):
    assert NASTY in page.text
    assert not any(attributes.get("src") == "x" for _, attributes in page.tags)
    assert "<script>alert(1)</script>" in page.text
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "curves"}, {}, {}]


def test_claims_are_shown_with_numbers_and_verdicts(page):
    score = "Of the paper's 3 claims 1 are confirmed at this scale, 1 contradicted and 1 not decided."
    assert score in page.text
    assert "−0.98" in page.text
    assert "−1.05 … −0.91 (95%)" in page.text
    for verdict in ("confirmed", "contradicted", "not decided"):
        assert verdict in page.text
    assert "What is contradicted here" in page.text
    assert "t* ∝ 1/(ηλ). It is not. Measured −0.98" in page.text


def test_page_holds_every_training_curve(root):
    text = document.write(root, THEORY)[0].read_text(encoding="utf-8")
    (block,) = re.findall(r'<script type="application/json" id="curves">(.*?)</script>', text, re.DOTALL)
    sweeps = json.loads(block)["sweeps"]
    assert set(sweeps) == {"fc", "measure_c"}
    table = tables.load("fc", root).table
    for run, (_, rows) in zip(sweeps["fc"]["runs"], table.groupby("run", sort=False), strict=True):
        assert run["name"] == f"η=0.15 λ=0.01 seed={rows['seed'].iloc[0]}"
        assert run["color"] == l2_color(0.01)
        assert run["epoch"] == pytest.approx(rows["epoch"].tolist(), rel=1e-3)
        assert run["test_accuracy"] == pytest.approx(rows["test_accuracy"].tolist(), rel=1e-3)
        best = rows["test_accuracy"].max()
        assert run["best"] == pytest.approx(best, rel=1e-3)
        first = rows.loc[rows["test_accuracy"] >= best - 0.005, "epoch"].iloc[0]
        assert run["t_star"] == pytest.approx(first, rel=1e-3)
    assert "Copyright (c) 2022 Leon Sorokin" in text


@pytest.mark.parametrize(("group", "color"), [("auto_minibatch", AUTO), ("auto_own", AUTO_OWN)])
def test_curves_of_long_diverged_and_adaptive_runs(group, color):
    one = synthetic.run_rows(eta=0.15, l2=0.01, seed=0, budget=100)
    long = pd.concat([one.assign(step=one["step"] + i * 1000, epoch=one["epoch"] + i) for i in range(9)])
    long.loc[long["epoch"] > 50, "train_loss"] = float("nan")
    auto = one.assign(run="auto", group=group)
    made = curves.sweep(synthetic.results("autol2_fc", pd.concat([long, auto], ignore_index=True)))
    first, second = made["runs"]
    assert len(first["epoch"]) == curves.MOST_POINTS < len(long)
    assert None in first["train_loss"]
    assert (second["color"], second["l2"]) == (color, None)
    assert second["coefficient"] == [0.01] * len(one)
    assert "</" not in curves.dumps({"name": "</script>"})


def test_claims_lead_to_the_experiments_of_their_runs():
    assert [name for name, _ in document.experiments("01-wrn_aug", ["figS2"])] == ["wrn_aug"]
    assert [name for name, _ in document.experiments("10-wrn", ["figS9"])] == ["wrn_aug"]
    assert [name for name, _ in document.experiments("07", ["fig4"])] == ["wrn_aug", "measure_c"]
    assert [name for name, _ in document.experiments("14-fc_small-time", ["figS7"])] == ["fc_small"]
    ((_, address),) = document.experiments("16", ["fig5"])
    assert address.startswith(f"http://127.0.0.1:5000/#/experiments/{catalog.number(catalog.THEORY)}/runs?")


def test_every_figure_belongs_to_the_experiments_whose_runs_it_shows():
    for name in set(gallery.NAMES) - {"fig5", "figX5"}:
        read = set(gallery.module(name).RESULTS)
        holding = {entry.setup for entry in catalog.EXPERIMENTS if read & set(entry.results)}
        assert {entry.setup for entry in catalog.EXPERIMENTS if name in entry.figures} == holding, name


def test_page_says_how_it_was_made(page):
    for said in ("make reproduce", "0123456789ab", "cpu, 2 cores", "jax 0.10.2", "sweep@fc", "0.4", "cnn"):
        assert said in page.text


def test_markdown_links_images_and_escapes_tables(root):
    _, readme = document.write(root, THEORY)
    text = readme.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for name in gallery.NAMES:
        assert f"![Figure {name[3:]}](figures/{name}.png)" in text
        assert f"figures/{name}.png" in links
    assert r"t\* ∝ 1/λ." in text
    assert "<img" not in text
    assert "| 2 | yes |" in text
    assert "- **03**: 03-fc: 7 seeds.\n" in text
    paper, _, ours = text.partition("### Ours, exploratory")
    assert "| **c1** " not in paper
    assert "| **c1** " in ours
    assert "\n\n\n" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = block.strip().split("\n")
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(widths) == 1, block


def test_same_files_give_the_same_bytes(root):
    first = [path.read_bytes() for path in document.write(root, THEORY)]
    assert [path.read_bytes() for path in document.write(root, THEORY)] == first


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (
            "reports/laptop/figures/figS7.png",
            r"reports/laptop/figures/figS7\.png is missing: run `dvc repro fig@S7`",
        ),
        ("reports/laptop/figures/data/fig2.csv", "dvc repro fig@2"),
        ("reports/laptop/claims", "dvc repro claims"),
        ("results/laptop", "no passports"),
    ],
)
def test_missing_inputs_name_the_stage(root, remove, message):
    tables.write(synthetic.results("fc_small", rows()), root)
    target = root / remove
    for path in target.iterdir() if target.is_dir() else [target]:
        path.unlink()
    with pytest.raises(ValueError, match=message):
        document.write(root, THEORY)
    assert not (root / "reports" / "laptop" / "index.html").exists()


def test_figure_without_caption_and_broken_passport_are_refused(root):
    Figure(figsize=(1, 1)).savefig(paths.figures(root) / "fig1.png")
    with pytest.raises(ValueError, match=r"fig1\.png has no caption.*dvc repro fig@1"):
        document.write(root, THEORY)
    (root / "results" / "laptop" / "fc.json").write_text("[]")
    with pytest.raises(ValueError, match=r"results/laptop/fc\.json is no passport: run `dvc repro sweep@fc`"):
        provenance.read(root / "results" / "laptop")


def test_a_page_too_large_is_refused(root, monkeypatch):
    monkeypatch.setattr(document, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"0\.\d MB, more than 0: set figures\.style"):
        document.write(root, THEORY)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (-1.0, "−1"), (0.0066, "0.0066"), (1.3e-5, "1.3e−05"), (3, "3"), ("x", "x")],
)
def test_numbers_for_readers(value, shown):
    assert words.number(value) == shown


def test_setups_of_one_and_of_several(root):
    made = provenance.read(root / "results" / "laptop")
    lines = [line for passport in made for line in provenance.setups(passport)]
    assert [line["name"] for line in lines] == ["fc", "measure_c (fc)", "measure_c (cnn)", "measure_c (wrn)"]
    assert "momentum 0.9" in lines[-1]["training"]


def test_a_model_in_words_is_shown_as_it_is(root):
    passport = json.loads((root / "results" / "laptop" / "fc.json").read_text())
    passport |= {"name": "theory", "setup": {"model": "ReLU networks", "loss": "sum"}}
    (line,) = provenance.setups(passport)
    assert (line["model"], line["training"]) == ("ReLU networks", "sum")


def test_minutes_add_up(root):
    made = provenance.making(provenance.read(root / "results" / "laptop"), "smoke")
    assert made["minutes"] == f"{2 * 12.5 / 60:.1f}"
    assert made["command"] == "make reproduce SCALE=smoke"
    assert made["runs"] == sum(
        json.loads(p.read_text())["runs"] for p in (root / "results" / "laptop").glob("*.json")
    )


def test_a_stage_that_found_runs_finished_takes_what_they_took():
    resumed = {"wall_seconds": 10.0, "worker_seconds": 300.0, "cores": 2}
    assert provenance.seconds(resumed) == 150.0
    assert provenance.seconds(resumed | {"wall_seconds": 200.0}) == 200.0
    assert provenance.seconds({"wall_seconds": 7.0}) == 7.0


def test_templates_are_package_files():
    vendored = ("vendor/README.md", "vendor/uplot/LICENSE", "vendor/uplot/uPlot.iife.min.js")
    for name in (
        "report.html.j2",
        "report.md.j2",
        "report.css",
        "report.js",
        "explorer.js",
        "choices.md",
        *vendored,
    ):
        assert (document.TEMPLATES / name).is_file()
    css = (document.TEMPLATES / "report.css").read_text()
    assert "prefers-color-scheme: dark" in css
    assert "@media print" in css


def test_stages_claims_and_report_make_both_pages(root, monkeypatch, capsys):
    fakes = worlds.everything()
    assert set(fakes) == set(evaluation.RESULTS)
    for one in fakes.values():
        tables.write(one, root)
    judge, write = guides.stage("claims"), guides.stage("report")
    theory = judging.single(replace(times.ON_L2, id="16"), times.against_l2(fakes, "fc"))
    monkeypatch.setattr(judge.theory, "evaluate", lambda results: [theory])
    monkeypatch.setattr(write.theory_section, "section", lambda results: THEORY)
    judge.main(root)
    said = "of the paper's 16 claims 16 confirmed, 0 contradicted, 0 not decided"
    assert said in capsys.readouterr().out
    write.main(root)
    assert "index.html: " in capsys.readouterr().out
    page = Page((paths.reports(root) / "index.html").read_text(encoding="utf-8"))
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {f"claim-{id}" for id in evaluation.read(paths.claims(root))} <= ids
    assert "What is contradicted here" not in page.text


def test_a_scale_that_has_some_of_its_runs_is_judged_and_shown(root, capsys):
    for path in paths.results(root).glob("measure_c.*"):
        path.unlink()
    tables.write(worlds.sweep("fc"), root)
    for name in set(gallery.NAMES) - {"fig1"}:
        (paths.figures(root) / f"{name}.png").unlink()
    guides.stage("claims").main(root)
    assert "not run yet at this scale, so not decided: cnn, " in capsys.readouterr().out
    guides.stage("report").main(root)
    text = (paths.reports(root) / "README.md").read_text("utf-8")
    assert "| **02** t\\* ∝ 1/(ηλ) with vanilla SGD. |" in text
    assert "Shown above: Figure 1. Not drawn yet, because their runs" in text
    assert "Section 4: not run yet at this scale: `dvc repro theory`." in text
    assert "wait for sweeps that have not been run." in text
    page = (paths.reports(root) / "index.html").read_text("utf-8")
    linked = set(re.findall(r'href="#(fig[0-9SX]\w*)"', page))
    assert linked == {"fig1"}
    overview.write(root)
    rows = (root / "reports" / "README.md").read_text("utf-8").splitlines()
    cells = {line.split("**")[1]: line.rstrip(" |").rpartition(" | ")[2] for line in rows if "| **" in line}
    assert cells["01"].startswith("confirmed")
    assert {cells[id].strip() for id in ("07", "10", "13", "14", "16")} == {"not run yet"}
    (said,) = [line for line in rows if "have not been run" in line]
    assert "measure\\_c" in said
    assert "sweep@wrn," in said
    assert "sweep@fc," not in said


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("cnn_bn alone, exponent: 90% interval −1.1 … −0.9, inside −1.25 … −0.75", " (by CNN+BN alone)"),
        ("mean over setups of exponent: 90% interval −1.1 … −0.9", ""),
        ("no number of points alone, as it says", ""),
    ],
)
def test_the_overview_says_where_one_network_speaks_for_all(reason, expected):
    record = {
        "verdict": "confirmed",
        "measured": -1.0,
        "low": -1.1,
        "high": -0.9,
        "reason": reason,
        "claim": "A. B.",
    }
    shown = overview.row("01", {"laptop": {"01": {**record, "paper": -1.0}}})["found"]["laptop"]
    assert shown == f"confirmed: −1 [−1.1, −0.9]{expected}"


def test_setups_that_may_not_judge_are_said_to_be_outside_and_why(root):
    document.write(root, THEORY)
    lines = (paths.reports(root) / "README.md").read_text("utf-8").splitlines()
    assert "| fc | 0.15 | 1 | 0.002 | 0.0003 … 0.01 | 1.5 | 140 | inside |" in lines
    assert "| cnn | 0.5 | – | – | – | – | – | outside: no λ = 0 |" in lines
    (paths.reports(root) / evaluation.REGIMES).write_text("[]")
    with pytest.raises(ValueError, match=r"regimes.json is missing or damaged: run `dvc repro claims`"):
        document.write(root, THEORY)
