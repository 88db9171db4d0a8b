"""The report and MLflow's interface in headless Chromium; build/screenshots/ keeps what they look like."""

import json
import os
import shutil
import subprocess
import sys
from urllib.request import urlopen

import pandas as pd
import pytest
import synthetic
from places import ROOT

from l2dynamics import paths
from l2dynamics.claims import evaluation
from l2dynamics.figures import gallery
from l2dynamics.report import document, theory_section
from l2dynamics.results import tables
from l2dynamics.tracking import views
from l2dynamics.tracking.sync import sync

SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RUNS = 6

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        SHOTS.mkdir(parents=True, exist_ok=True)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report_url(tmp_path_factory):
    """The report as this code makes it from the committed results, figures and claims."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("results", "reports"):
        shutil.copytree(ROOT / folder, root / folder)
    html, _ = document.write(root, theory_section.section(tables.load("theory", root)))
    return html.as_uri()


@pytest.fixture
def open_report(browser, report_url):
    """Opens the report in a new window; at the end nothing may have gone wrong in any of them."""
    contexts, wrong = [], []

    def open_one(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda one: wrong.append(one.url) if one.url.startswith("http") else None)
        page.goto(report_url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not wrong


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}}),
    ],
)
def test_report_shows_every_figure_and_fits_the_screen(open_report, name, options):
    page = open_report(**options)
    widths = page.locator("figure img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) == len(gallery.NAMES)
    assert min(widths) > 300
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    charts = page.locator(".explorer .uplot")
    assert charts.count() == 6
    across = page.viewport_size["width"]
    assert all(box["x"] + box["width"] <= across for box in (charts.nth(i).bounding_box() for i in range(6)))
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (name == "dark")
    page.screenshot(path=SHOTS / f"report-{name}.png")
    page.locator(".explorer").first.screenshot(path=SHOTS / f"curves-{name}.png")
    page.locator("#claims").scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / f"claims-{name}.png")


def test_nothing_is_cut_on_paper(open_report):
    page = open_report(viewport={"width": 720, "height": 960})  # 7.5 inches, a sheet less its margins
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("table, img, pre")]
            .filter((item) => item.getBoundingClientRect().right > innerWidth)
            .map((item) => item.outerHTML.slice(0, 200))"""
    )
    assert wide == []
    assert page.locator("#claim-01-fc details[open]").is_visible()


@pytest.mark.parametrize(("place", "kind"), [(0, "paper"), (1, "ours")])
def test_claims_are_sorted_by_a_click_on_their_heading(open_report, place, kind):
    page = open_report()
    table = page.locator("table.sortable").nth(place)
    column = [text.strip() for text in table.locator("th").all_inner_texts()].index("ours")

    def shown():
        cells = table.locator(f"tbody tr td:nth-child({column + 1})")
        keys = cells.evaluate_all("cells => cells.map(cell => cell.dataset.sort)")
        records = evaluation.read(paths.claims(ROOT)).values()
        assert len(keys) == sum(record["kind"] == kind for record in records)
        missing = keys.count("")
        assert not any(keys[len(keys) - missing :])
        return [float(key) for key in keys[: len(keys) - missing]]

    table.locator("th button").nth(column).click()
    assert shown() == sorted(shown())
    table.locator("th button").nth(column).click()
    assert shown() == sorted(shown(), reverse=True)
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("ours")


def test_curves_name_the_run_under_the_pointer(open_report):
    page = open_report()
    explorer = page.locator(".explorer").first
    explorer.scroll_into_view_if_needed()
    assert explorer.locator(".tip").is_hidden()
    box = explorer.locator(".u-over").first.bounding_box()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.4 * box["height"])
    tip = explorer.locator(".tip").inner_text()
    for said in ("η=", "λ=", "seed=", "t·η·λ = ", "test accuracy = ", "t* ", "best accuracy "):
        assert said in tip
    explorer.screenshot(path=SHOTS / "curves-hover.png")
    link = explorer.locator(".detail a").first.get_attribute("href")
    assert link.startswith("http://127.0.0.1:5000/#/experiments/1/runs?")
    page.mouse.move(0, 0)
    assert explorer.locator(".tip").is_hidden()

    # Other runs, and only those of one λ.
    explorer.locator("select").first.select_option("wrn")
    alone = explorer.locator(".swatches button").nth(1)
    alone.click()
    assert explorer.locator(".swatches button[aria-pressed=true]").count() == 1
    said = explorer.locator(".uplot").first.get_attribute("aria-label")
    table = tables.load("wrn", ROOT).table
    kept = float(alone.inner_text().partition("= ")[2].replace("−", "-"))
    assert (
        said
        == f"test accuracy against t·η·λ, epochs, {table.loc[table['l2'] == kept, 'run'].nunique()} runs of wrn"
    )


def test_figures_are_enlarged(open_report):
    page = open_report(viewport={"width": 390, "height": 844})
    page.locator("#fig4 a.zoom").click()
    image = page.locator("dialog[open] img")
    assert image.bounding_box()["width"] > 2 * 390
    page.screenshot(path=SHOTS / "figure-enlarged-phone.png")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_report_without_javascript_and_on_paper(open_report):
    page = open_report(java_script_enabled=False)
    assert page.locator(".explorer").first.is_hidden()
    assert page.locator("noscript").first.is_visible()
    assert page.locator("figure img").first.is_visible()
    assert len(page.pdf(path=SHOTS / "report.pdf", format="A4")) > 100_000


@pytest.fixture
def server(tmp_path, monkeypatch):
    """`make ui` over a store with a sweep of RUNS runs: its address."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    rows = [
        synthetic.run_rows(eta=eta, l2=l2, seed=0, budget=100)
        for eta in (0.15, 0.5)
        for l2 in (0.1, 0.03, 0.01)
    ]
    tables.write(synthetic.results("fc", pd.concat(rows, ignore_index=True)), tmp_path)
    sync(tmp_path)
    environment = {**os.environ, "L2DYNAMICS_ROOT": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    ui = subprocess.Popen(
        [sys.executable, "-m", "l2dynamics.tracking", "ui", "--port", "5610"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield ui.stdout.readline().split()[1]
    finally:
        ui.terminate()
        ui.communicate(timeout=120)


# MLflow 3.17 uses a loader that SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_mlflow_shows_every_run_and_its_curve(browser, server):
    with urlopen(f"{server}/ajax-api/2.0/mlflow/experiments/get?experiment_id=1") as answer:
        assert json.load(answer)["experiment"]["name"].startswith("fc ")
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    page.set_default_timeout(120_000)
    page.goto(f"{server}/#/experiments/1/runs?{views.ADDRESS}")
    page.get_by_text(f"{RUNS} matching runs").wait_for()
    plots = page.locator(".js-plotly-plot")
    plots.first.wait_for()
    # A run may have several traces, all of its name.
    page.wait_for_function(
        """n => [...document.querySelectorAll('.js-plotly-plot')].slice(0, 2).every(plot =>
             new Set((plot.data ?? []).filter(one => one.x?.length > 10).map(one => one.name)).size === n)""",
        arg=RUNS,
    )
    for eta in ("0.15", "0.5"):
        assert page.get_by_role("link", name=f"η={eta} λ=0.03 seed=0").count() >= 1
    assert page.get_by_text("Training curves").count() >= 1
    assert page.get_by_text("Against 10⁶·t·η·λ").count() == 1
    page.screenshot(path=SHOTS / "mlflow-curves.png")
    page.close()
