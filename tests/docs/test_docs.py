"""docs/: the site builds without a warning, links lead somewhere, examples and commands are executed by a test."""

import ast
import doctest
import fnmatch
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import guides
import pytest
import shown
from places import ROOT, TESTS
from ruamel.yaml import YAML

from l2dynamics import paths
from l2dynamics.claims import evaluation
from l2dynamics.experiments import scales, schema, setup
from l2dynamics.figures import gallery
from l2dynamics.pipeline import dag

#: What no test executes, blocks by their names and commands, and why.
NOT_EXECUTED = {
    "*:mermaid": "a drawing",
    "docs/layout.md#*:text": "a drawing",
    "docs/index.md#*:{toctree}": "the table of contents",
    "docs/howto-pipeline.md#While it runs:console": "output alone; test_progress.py compares its form",
    "docs/promises.md#Bad input:": "messages; test_schema.py and test_data.py compare them",
    "docs/cluster.md#*:bash": "needs hosts, accelerators, servers; see test_ray_cluster.py and test_hosts.py",
    ". .venv/bin/activate": "the environment of every test",
    "pip install -c constraints.txt -e '.[test,cuda]'": "needs an accelerator",
    "make reproduce SCALE=accelerator": "needs an accelerator; test_end_to_end.py does it at scale smoke",
    "python scripts/pilot.py laptop cnn_bn --set data.name=mnist data.image_size=14 --eta 0.8 --l2 0 5e-4 1e-3 2e-3 "
    "--tau 5": "minutes of training; test_pilot.py runs smaller ones",
    "make beyond": "test_end_to_end.py runs its stages at scale smoke",
    "git checkout .": "git's own",
    "dvc exp apply NAME": "DVC's own",
}


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.executes("make docs")
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
    assert 'href="reports/laptop/index.html"' in pages[site / "index.html"]
    for path, text in pages.items():
        for link in re.findall(r'href="([^"]+)"', text):
            target, _, anchor = re.sub(r"\?v=\w+", "", link).partition("#")
            # Links out of the site are for readers of the repository.
            outside = "://" in target or "../" in target or target.startswith("data:")
            if outside and not (path.parent / target).exists():
                continue
            page = (path.parent / target).resolve() if target else path
            assert page.is_file(), f"{path.name}: {link}"
            if anchor and page in pages:
                assert f'id="{anchor}"' in pages[page], f"{path.name}: {link}"
        assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', text), path.name


@pytest.mark.parametrize("page", shown.PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("reference/"):  # made by `make docs`
            continue
        assert (page.parent / link).exists(), link


@pytest.mark.executes("docs/*.md#*:pycon")
@pytest.mark.parametrize("page", shown.PAGES, ids=lambda page: page.name)
def test_examples_say_what_they_print(page):
    failed, _ = doctest.testfile(str(page), module_relative=False)
    assert failed == 0


def test_every_block_and_every_command_is_executed_by_a_test():
    claims = shown.claims()
    for block in shown.BLOCKS:
        if block.commands:
            continue
        excused = [name for name in NOT_EXECUTED if fnmatch.fnmatchcase(block.name, name)]
        executed = [claim.test for claim in claims if claim.covers(block)]
        assert bool(executed) != bool(excused), f"{block.name}: executed by {executed}, excused by {excused}"
    executed = {claim.what for claim in claims} & shown.COMMANDS
    excused = set(NOT_EXECUTED) & shown.COMMANDS
    assert shown.COMMANDS - executed - excused == set()
    assert executed & excused == set()


def test_nothing_is_said_to_be_executed_that_no_page_shows():
    for claim in shown.claims():
        covered = [block.name for block in shown.BLOCKS if claim.covers(block)]
        assert claim.what in shown.COMMANDS or covered, f"{claim.test}: {claim.what}"
        if claim.what in shown.COMMANDS:
            assert shown.subject(claim.what) in claim.source, f"{claim.test} does not mention {claim.what}"
    for what in NOT_EXECUTED:
        names = [block.name for block in shown.BLOCKS if fnmatch.fnmatchcase(block.name, what)]
        assert what in shown.COMMANDS or names, what


def test_tests_that_a_page_names_exist():
    files = {file.name: file for file in TESTS.rglob("test_*.py")}
    tests = {
        name: [node.name for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.FunctionDef)]
        for name, file in files.items()
    }
    cited = [
        match
        for page in shown.PAGES
        for match in re.findall(
            r"(?:(?:tests/(?:(\w+)/)?)?(test_\w+\.py)|`…)(?:::(\w+…?))?", page.read_text(encoding="utf-8")
        )
    ]
    assert cited
    file = ""
    for folder, name, test in cited:
        if not name and not test:
            continue
        file = name or file  # `…::test` is of the file named before
        assert file in files, file
        assert not folder or files[file].parent.name == folder, file
        assert not test or fnmatch.filter(tests[file], test.replace("…", "*")), f"{file}::{test}"


def test_commands_of_the_guides_name_stages_that_exist():
    stages = {
        *guides.stage_names(),
        "fig@Y1",
        "sweep@mine",
        "sweep@stripes_fc",
    }  # the last three by the guides
    for command in shown.COMMANDS:
        if command.startswith("dvc repro "):
            assert command.split()[2] in stages


@pytest.mark.executes("docs/cluster.md#Who executes the runs:yaml")
def test_resources_of_the_guide_are_accepted():
    (block,) = [block for block in shown.BLOCKS if block.name == "docs/cluster.md#Who executes the runs:yaml"]
    ((name, section),) = YAML(typ="safe").load(block.text).items()
    assert schema.Resources.model_validate(section["resources"]).gpus == 1
    assert scales.load_section(ROOT, "paper", name, schema.Sweep).setup.model.kind == "wrn"


@pytest.mark.executes("docs/tutorial.md#3. Change the grid:yaml")
def test_the_tutorial_changes_a_line_that_is_there():
    lines = [b.text for b in shown.BLOCKS if b.name == "docs/tutorial.md#3. Change the grid:yaml"]
    grids = [schema.Grid.model_validate(YAML(typ="safe").load(line)[0]) for line in lines]
    assert (ROOT / "scales" / "smoke.yaml").read_text(encoding="utf-8").count(lines[0]) == 1
    assert grids[0] == scales.load_section(ROOT, "smoke", "fc_mse", schema.Sweep).grids[0]
    assert set(grids[1].l2) - set(grids[0].l2) == {0.02}


def images(folder):
    """Names of the pictures on a page of DVC's."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r'<img src="(static/[^"]*_reports_laptop_figures_(\w+\.png))"', page)
    assert all((folder / file).stat().st_size for file, _ in shown)
    return {name for _, name in shown}


@pytest.mark.executes(
    "dvc stage list",
    "dvc status",
    "dvc dag fig@S5",
    "dvc dag --collapse-foreach-matrix --md",
    "dvc status --with-deps fig@S5",
    "dvc plots show",
    "dvc plots show reports/laptop/figures/figS5.png",
)
def test_dvc_commands(tmp_path):
    """Those that only look; what they print begins as the guide says."""
    done = {}
    looks = (
        "dvc stage list",
        "dvc status",
        "dvc dag fig@S5",
        "dvc dag --collapse-foreach-matrix --md",
        "dvc status --with-deps fig@S5",
        f"dvc plots show -o {tmp_path / 'all'}",
        f"dvc plots show reports/laptop/figures/figS5.png -o {tmp_path / 'one'}",
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
    assert images(tmp_path / "all") == {f"{name}.png" for name in gallery.NAMES}
    assert images(tmp_path / "one") == {"figS5.png"}


@pytest.mark.executes("dvc exp run -S scle=smoke")
def test_a_typing_error_of_an_experiment_ends_at_once(tmp_path):
    guides.copy_of_the_checkout(tmp_path)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    subprocess.run(["git", *identity, "commit", "-q", "-m", "copy"], cwd=tmp_path, check=True)
    dvc = str(Path(sys.executable).parent / "dvc")
    done = subprocess.run(
        [dvc, "exp", "run", "-S", "scle=smoke"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    guide = (ROOT / "docs" / "howto-pipeline.md").read_text(encoding="utf-8")
    said = guide.partition("$ dvc exp run -S scle=smoke\n")[2].partition("```")[0].splitlines()
    assert set(said) - {"…"} <= set((done.stdout + done.stderr).splitlines())


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
    for id in evaluation.read(paths.claims(ROOT)):
        assert f"\n## {id}\n" in text
