"""docs/: the site builds without a warning, links lead somewhere, examples and commands are executed by a test."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import guides
import pytest

from l2dynamics import claims, figures, paths
from l2dynamics.experiments import scales, schema, setup
from l2dynamics.pipeline import dag

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Where each command of a console block is executed; each was also run by hand for the output that is shown.
EXECUTED = {
    "make setup lint test": ".ci/run",
    "make setup": ".ci/run",
    ". .venv/bin/activate": "the environment of every test",
    "python scripts/set_scale.py smoke": "test_packaging.py",
    "dvc repro fig@X1": "test_contributing.py",
    "dvc repro sweep@stripes_fc": "test_guides.py",
    "dvc repro sweep@mine": "test_guides.py",
    "dvc repro": "test_end_to_end.py",
    "dvc repro fig@S5": "test_end_to_end.py",
    "dvc metrics show": "test_end_to_end.py",
    "dvc repro track": "test_tracking.py, test_end_to_end.py",
    "rm -r mlflow": "test_track_stage.py",
    "make ui": "test_tracking.py, test_browser.py",
    "make reproduce SCALE=accelerator": "test_end_to_end.py, at scale smoke",
    "pip install -c constraints.txt -e '.[test,cuda]'": "on a machine with an accelerator only",
    "git checkout .": "git's own",
    "dvc status": "test_docs.py",
    "dvc stage list": "test_docs.py",
    "dvc dag fig@S5": "test_docs.py",
    "dvc dag --collapse-foreach-matrix --md": "test_docs.py",
    "dvc status --with-deps fig@S5": "test_docs.py",
    "dvc metrics diff HEAD~4": "test_end_to_end.py, with HEAD",
    "dvc exp show --md --drop '.*' --keep 'Experiment|params.yaml:scale|.*fc_mse.evaluations'": "test_end_to_end.py",
    "dvc exp run -S scale=smoke -S 'scales/smoke.yaml:fc_mse.evaluations=30' fig@S5": "test_end_to_end.py, with fig@2",
    "dvc exp run -S scale=smoke -S 'scales/smoke.yaml:setups.fc.batch=64' fig@S5": "test_inheritance.py",
    "dvc exp run -S scale=smoke -S 'scales/smoke.yaml:+fc_mse.setup.batch=64' fig@S5": "test_inheritance.py",
    "dvc exp run -S scle=smoke": "test_docs.py",
    "dvc exp apply NAME": "DVC's own",
    "dvc plots show": "test_docs.py",
    "dvc plots show reports/figures/figS5.png": "test_docs.py",
    "dvc plots diff HEAD~1 --targets results/fc_mse.csv": "test_end_to_end.py, with HEAD and fc.csv",
}


def commands(page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line[2:].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_site_builds_without_a_warning_and_its_links_work(tmp_path):
    make = [sys.executable, str(ROOT / "scripts" / "make_reference.py")]
    subprocess.run(make, cwd=ROOT, check=True)
    site = tmp_path / "site"
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        str(tmp_path / "trees"),
        "docs",
        str(site),
    ]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {
        path: path.read_text(encoding="utf-8")
        for path in site.rglob("*.html")
        if "_downloads" not in path.parts
    }
    assert {"index.html", "tutorial.html", "physics.html"} <= {path.name for path in pages}
    for path, text in pages.items():
        for link in re.findall(r'href="([^"]+)"', text):
            target, _, anchor = re.sub(r"\?v=\w+", "", link).partition("#")
            # Links out of the site are for readers of the repository.
            outside = "://" in target or "../" in target
            if outside and not (path.parent / target).exists():
                continue
            page = (path.parent / target).resolve() if target else path
            assert page.is_file(), f"{path.name}: {link}"
            if anchor and page in pages:
                assert f'id="{anchor}"' in pages[page], f"{path.name}: {link}"
        assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', text), path.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("reference/"):  # made by `make docs`
            continue
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_say_what_they_print(page):
    failed, _ = doctest.testfile(str(page), module_relative=False)
    assert failed == 0


def test_every_command_is_executed_by_a_test():
    of_others = {"cluster.md", "promises.md", "library.md"}
    found = {command for page in PAGES if page.name not in of_others for command in commands(page)}
    assert found == set(EXECUTED)
    stages = {
        *guides.stage_names(),
        "fig@X1",
        "sweep@mine",
        "sweep@stripes_fc",
    }  # the last three by the guides
    for command in found:
        if command.startswith("dvc repro "):
            assert command.split()[2] in stages


def images(folder):
    """Names of the pictures on a page of DVC's."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r'<img src="(static/[^"]*_reports_figures_(\w+\.png))"', page)
    assert all((folder / file).stat().st_size for file, _ in shown)
    return {name for _, name in shown}


def test_dvc_commands(tmp_path):
    """Those that only look; what they print begins as the guide says."""
    done = {}
    looks = (
        "dvc stage list",
        "dvc dag fig@S5",
        "dvc dag --collapse-foreach-matrix --md",
        "dvc status --with-deps fig@S5",
        f"dvc plots show -o {tmp_path / 'all'}",
        f"dvc plots show reports/figures/figS5.png -o {tmp_path / 'one'}",
    )
    for command in looks:
        words = command.split()
        words[0] = str(Path(sys.executable).parent / "dvc")
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, f"{command}: {run.stderr}"
        assert "failed to load" not in run.stdout + run.stderr  # DVC says so, and succeeds
        done[command] = run.stdout
    guide = (ROOT / "docs" / "howto-pipeline.md").read_text(encoding="utf-8")
    for line in guide.partition("$ dvc stage list\n")[2].partition("$ ")[0].splitlines():
        assert line.split()[0] in ("…", *(one.split()[0] for one in done["dvc stage list"].splitlines()))
    shown = guide.partition("$ dvc dag --collapse-foreach-matrix --md\n")[2].partition("```")[0].splitlines()
    graph = done["dvc dag --collapse-foreach-matrix --md"].splitlines()
    assert set(shown) - {"…"} <= set(graph)
    drawn = guide.partition("$ dvc dag fig@S5\n")[2].partition("```")[0]
    assert [line.strip() for line in drawn.splitlines()] == [
        line.strip() for line in done["dvc dag fig@S5"].splitlines()
    ]
    assert images(tmp_path / "all") == {f"{name}.png" for name in figures.NAMES}
    assert images(tmp_path / "one") == {"figS5.png"}


def test_reference_has_every_parameter_stage_and_claim(reference):
    text = reference.parameters()
    for section in (
        scales.Params,
        schema.Sweep,
        schema.Grid,
        setup.Setup,
        schema.AutoL2Sweep,
        schema.MeasureC,
    ):
        assert f"### {section.__name__}\n" in text
        for name in section.model_fields:
            assert f"| `{name}` |" in text
    assert "| `momentum` | number ≥ 0 and < 1 | `0.0` |" in text
    assert "| `sigma_w` | number > 0 | required |" in text
    assert "Training examples on which train_loss and train_accuracy are measured" in text
    text = reference.stages(ROOT)
    for name in dag.read(ROOT)["stages"]:
        assert f"\n## {name}\n" in text
    text = reference.every_claim(ROOT)
    for id in claims.read(paths.claims(ROOT)):
        assert f"\n## {id}\n" in text
