import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT
from ruamel.yaml import YAML

from l2dynamics import __version__
from l2dynamics.experiments import scales

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def closure(name: str, extras: set[str]) -> set[str]:
    """Names of all installed distributions that a distribution with these extras needs."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(canonicalize_name(name), extra) for extra in {"", *extras}]
    while todo:
        item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        found.add(item[0])
        for line in metadata.requires(item[0]) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": item[1]}):
                todo += [(canonicalize_name(requirement.name), extra) for extra in {"", *requirement.extras}]
    return found - {canonicalize_name(name)}


def test_constraints_hold_versions_only():
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if not x.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", line) for line in lines)
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert names == sorted(set(names))


def test_constraints_pin_this_whole_environment():
    pinned = pins()
    if pinned["jax"] != (here := metadata.version("jax")):
        pytest.skip(f"jax is {here}: this environment was not made from constraints.txt")
    for name in sorted(closure("l2dynamics", {"test"})):
        assert pinned.get(name) == metadata.version(name), f"{name}: constraints.txt has {pinned.get(name)}"


def test_every_direct_dependency_is_pinned_and_allowed():
    # PyTorch is the user's: nothing of the pipeline needs it, and the measurements against it pin it for themselves.
    (torch,) = [Requirement(line) for line in (ROOT / "bench/requirements.txt").read_text().splitlines()[1:]]
    pinned = pins() | {torch.name: str(torch.specifier).removeprefix("==")}
    extras = PROJECT["optional-dependencies"]
    for line in (*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)):
        requirement = Requirement(line)
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line


def test_library_alone_needs_jax_optax_and_numpy_only():
    assert {Requirement(line).name for line in PROJECT["dependencies"]} == {"jax", "optax", "numpy"}
    assert PROJECT["version"] == __version__
    assert PROJECT["requires-python"] == ">=3.11"


def test_wheel_holds_every_module_and_nothing_else(tmp_path):
    # Built from a copy: setuptools leaves build/ behind.
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / file).is_file():
            shutil.copy(ROOT / file, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(copy)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"l2dynamics-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
        licences = {name for name in archive.namelist() if name.endswith("/LICENSE")}
    sources = (ROOT / "src").rglob("*.py")
    assert packed == {path.relative_to(ROOT / "src").as_posix() for path in sources}
    own, of_plotter = (
        f"l2dynamics-{__version__}.dist-info/licenses/LICENSE",
        "l2dynamics/report/templates/vendor/uplot/LICENSE",
    )
    assert licences == {own, of_plotter}


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def makefile(tmp_path: Path) -> Path:
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", ["setup", "reproduce", "verify", "figures", "ui", "test", "lint", "docs"])
def test_every_target_does_its_own_setup(makefile, target):
    done = make(makefile, "--dry-run", target)
    assert done.returncode == 0, done.stderr
    assert "--constraint constraints.txt --editable '.[pipeline]'" in done.stdout
    assert ("--editable '.[test]'" in done.stdout) == (target in ("test", "lint", "docs"))
    assert done.stdout.index("-m venv") < done.stdout.index("--editable")


@pytest.mark.parametrize("target", ["setup", "test"])
def test_nothing_is_installed_twice(makefile, target):
    (makefile / ".venv" / "bin").mkdir(parents=True)
    (makefile / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (makefile / ".venv" / ".stamp").write_text(f"{makefile}\n")
    (makefile / ".venv" / ".tools").touch()
    assert "--editable" not in make(makefile, "--dry-run", target).stdout
    os.utime(makefile / "constraints.txt", (2**31, 2**31))
    assert "--editable" in make(makefile, "--dry-run", target).stdout


def test_old_python_is_refused_in_one_line(makefile):
    old = makefile / "python3.9"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi\n')
    old.chmod(0o755)
    done = make(makefile, "setup", f"PYTHON={old}")
    assert done.returncode != 0
    assert "is Python 3.9.2; l2dynamics needs Python 3.11 or newer" in done.stderr
    assert not (makefile / ".venv").exists()


@pytest.fixture
def offline(makefile: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of nothing: ``make setup`` does all it does, and pip needs no network for it."""
    backend = """
        import zipfile
        TAG = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        def build_editable(folder, settings=None, metadata=None):
            with zipfile.ZipFile(f"{folder}/empty-1-py3-none-any.whl", "w") as wheel:
                wheel.writestr("empty-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: empty\\nVersion: 1\\n"
                                                             "Provides-Extra: test\\n")
                wheel.writestr("empty-1.dist-info/WHEEL", TAG)
                wheel.writestr("empty-1.dist-info/RECORD", "")
            return "empty-1-py3-none-any.whl"
    """
    (makefile / "backend.py").write_text(textwrap.dedent(backend))
    (makefile / "pyproject.toml").write_text(
        '[project]\nname = "empty"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (makefile / "scripts").mkdir()
    (makefile / "scripts" / "without_git.py").touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return makefile


def without_pip(venv: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)


def python_gone(venv: Path) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (venv / "bin" / "python").symlink_to(venv / "gone")
    (venv / ".stamp").write_text(f"{venv.parent}\n")


def moved(venv: Path) -> None:
    without_pip(venv)
    (venv / ".stamp").write_text("/another/checkout\n")
    (venv / "bin" / "dvc").write_text("#!/another/checkout/.venv/bin/python\n")


@pytest.mark.parametrize("damage", [without_pip, python_gone, moved])
def test_a_broken_environment_is_mended(offline, damage):
    venv = offline / ".venv"
    damage(venv)
    done = make(offline, "setup", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert len(list(venv.glob("lib/python*/site-packages/empty-1.dist-info"))) == 1
    assert (venv / ".stamp").read_text() == f"{offline}\n"
    assert not (venv / "bin" / "dvc").exists()
    again = make(offline, "setup", f"PYTHON={sys.executable}")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_missing_python3_venv_is_named_in_one_line_and_nothing_is_half_made(offline):
    python = offline / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in *venv*) exit 1; esac\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = make(offline, "setup", f"PYTHON={python}")
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if not line.startswith("make")] == [
        f"error: {python} cannot make environments; on Debian and Ubuntu: apt install python3-venv; or name one that "
        "you have made: make VENV=/path/to/env setup"
    ]
    assert not (offline / ".venv").exists()


def test_an_environment_of_the_user_is_taken_and_mended(offline):
    venv = offline / "own"
    without_pip(venv)
    (venv / "kept").touch()
    (venv / ".stamp").write_text("/another/checkout\n")
    where = ("--eval", "where: setup ; @command -v python", "where")
    done = make(offline, f"VENV={venv}", "PYTHON=/nowhere/python", *where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(venv / "bin" / "python")
    assert (venv / "kept").exists()
    assert (venv / ".stamp").read_text() == f"{offline}\n"
    assert not (offline / ".venv").exists()


def test_a_folder_of_the_user_that_is_no_environment_is_left_alone(offline):
    venv = offline / "own"
    (venv / "bin").mkdir(parents=True)
    (venv / "kept").touch()
    done = make(offline, f"VENV={venv}", "reproduce")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith(
        f"error: VENV={venv}: no bin/python of Python 3.11 or newer with pip there; make one by "
    )
    assert sorted(path.name for path in venv.iterdir()) == ["bin", "kept"]


def test_clean_deletes_what_it_names_and_no_more(makefile):
    kept = [
        "results/laptop/fc.csv",
        "reports/laptop/README.md",
        "mlflow/mlflow.db",
        ".venv/bin/python",
        ".dvc/config",
        "src/a.py",
    ]
    gone = ["work/fc/run", "dvc.lock", ".dvc/cache/files/a", ".dvc/tmp/b", ".mypy_cache/c"]
    for file in (*kept, *gone):
        (makefile / file).parent.mkdir(parents=True, exist_ok=True)
        (makefile / file).touch()
    done = make(makefile, "clean")
    assert done.returncode == 0
    assert [file for file in kept if not (makefile / file).exists()] == []
    assert [file for file in gone if (makefile / file).exists()] == []
    for word in ("work/", "dvc.lock", ".dvc/cache/", ".dvc/tmp/"):
        assert word in done.stdout


def test_figures_are_drawn_without_their_sweeps():
    make = ["make", "--dry-run", "--silent", f"VENV={Path(sys.executable).parents[1]}", "figures"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True)
    (command,) = [line for line in done.stdout.splitlines() if "dvc repro" in line]
    assert command.partition(" repro ")[2].split() == [
        "--single-item",
        "code",
        "$figures",
    ]
    assert "figures=$(" in command
    assert "scripts/drawable.py)" in command


def test_figures_are_drawn_of_the_sweeps_that_a_scale_has(params):
    def drawable():
        command = [sys.executable, str(ROOT / "scripts" / "drawable.py")]
        return subprocess.run(command, cwd=params.parent, capture_output=True, text=True)

    assert drawable().returncode == 2
    assert "no results yet: run `make reproduce`" in drawable().stderr
    (params.parent / "results" / "laptop").mkdir(parents=True)
    for name in ("fc", "wrn"):
        (params.parent / "results" / "laptop" / f"{name}.json").touch()
    assert drawable().stdout.split() == ["fig@2", "fig@S1"]


PARAMS = (
    "# what does not depend on the scale\nscale: laptop  # smoke, laptop\r\nseed: 0\nother: {scale: laptop}\n"
    "data:\n  source: sample # or tfds\n"
)


def set_scale(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "set_scale.py"), *arguments],
        cwd=root,
        env={k: v for k, v in os.environ.items() if k != "L2DYNAMICS_ROOT"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def params(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").touch()
    shutil.copytree(ROOT / "scales", tmp_path / "scales", ignore=shutil.ignore_patterns("locks"))
    path = tmp_path / "params.yaml"
    path.write_bytes(PARAMS.encode())
    return path


@pytest.mark.parametrize("scale", scales.SCALES)
def test_scale_is_set_and_set_back_without_a_trace(params, scale):
    assert set_scale(params.parent, scale).returncode == 0
    source = "sample" if scale in ("smoke", "laptop", "workstation") else "tfds"
    wanted = PARAMS.replace("scale: laptop  #", f"scale: {scale}  #").replace(
        "source: sample", f"source: {source}"
    )
    assert params.read_bytes() == wanted.encode()
    assert YAML(typ="safe").load(params)["scale"] == scale
    assert set_scale(params.parent, "laptop").returncode == 0
    assert params.read_bytes() == PARAMS.encode()


def test_every_scale_keeps_its_lock(params):
    lock = params.with_name("dvc.lock")
    lock.write_text("laptop")
    set_scale(params.parent, "smoke")
    assert lock.read_text() == "laptop"  # what does not depend on the scale is still up to date
    set_scale(params.parent, "laptop")
    assert not list((params.parent / "scales/locks").iterdir())
    set_scale(params.parent, "smoke")
    lock.write_text("smoke")
    set_scale(params.parent, "laptop")
    assert lock.read_text() == "laptop"
    set_scale(params.parent, "smoke")
    assert lock.read_text() == "smoke"
    lock.unlink()  # `make clean`
    set_scale(params.parent, "laptop")
    assert lock.read_text() == "laptop"
    assert not list(params.parent.rglob("*.partial"))


def test_an_interrupted_change_of_scale_loses_no_lock(params):
    lock, kept = params.with_name("dvc.lock"), params.parent / "scales" / "locks"
    kept.mkdir()
    lock.write_text("laptop")
    (kept / "smoke.lock").write_text("smoke")
    # It stops after the locks are swapped, before params.yaml is written.
    script = runpy.run_path(str(ROOT / "scripts" / "set_scale.py"))
    script["swap_locks"](params.parent, "laptop", "smoke")
    assert params.read_bytes() == PARAMS.encode()
    set_scale(params.parent, "smoke")
    assert (lock.read_text(), (kept / "laptop.lock").read_text()) == ("smoke", "laptop")
    assert not (kept / "smoke.lock").exists()


def test_style_of_the_figures_is_set_alone(params):
    text = PARAMS + "figures:\n  style: paper # paper | slides\n"
    params.write_bytes(text.encode())
    assert set_scale(params.parent, "--style", "slides").stdout == "params.yaml: style is now slides\n"
    assert params.read_bytes() == text.replace("style: paper", "style: slides").encode()
    refused = set_scale(params.parent, "--style", "poster")
    assert refused.stderr == "error: STYLE: 'poster' is unknown, choose one of paper, slides\n"


def test_unchanged_scale_leaves_the_file_alone(params):
    os.utime(params, (1, 1))
    done = set_scale(params.parent, "laptop")
    assert (done.returncode, done.stdout) == (0, "")
    assert params.stat().st_mtime == 1


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (
            ["laptp"],
            PARAMS,
            "SCALE: 'laptp' is unknown, choose one of smoke, laptop, workstation, accelerator, paper",
        ),
        ([""], PARAMS, "SCALE: '' is unknown"),
        ([], PARAMS, "usage:"),
        (["smoke"], "seed: 0\n", "params.yaml: 0 lines begin with `scale: NAME`"),
        (["smoke"], "scale: laptop\nscale: paper\n", "params.yaml: 2 lines"),
    ],
)
def test_bad_scale_changes_nothing(params, arguments, content, message):
    params.write_bytes(content.encode())
    done = set_scale(params.parent, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert params.read_bytes() == content.encode()


@pytest.fixture
def archive(makefile: Path, params: Path) -> Path:
    """A checkout without .git, as in a ZIP of the sources, whose pipeline is one stage."""
    shutil.copytree(ROOT / "scripts", makefile / "scripts")
    (makefile / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", makefile / ".dvc")
    (makefile / "dvc.yaml").write_text(
        "stages:\n  fig:\n    foreach: [S5]\n    do:\n      cmd: echo drawn > drawn\n      params: [scale]\n"
        "      outs: [drawn: {cache: false}]\n"
    )
    return makefile


def reproduce(root: Path) -> subprocess.CompletedProcess:
    venv = Path(sys.executable).parents[1]
    return make(root, f"VENV={venv}", "-o", f"{venv}/.stamp", "reproduce", "SCALE=smoke")


def test_a_copy_without_git_is_reproduced(archive):
    done = reproduce(archive)
    assert done.returncode == 0, done.stderr
    assert (archive / "drawn").read_text() == "drawn\n"
    assert done.stdout.startswith("No git repository here: DVC works without one")
    again = reproduce(archive)
    assert again.returncode == 0, again.stderr
    assert "No git repository" not in again.stdout
    assert "Data and pipelines are up to date." in again.stdout


def test_a_copy_that_dvc_refuses_stays_as_it_is(archive):
    shutil.rmtree(archive / ".dvc")
    done = reproduce(archive)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith("error: DVC cannot be set up for a folder without git (")
    assert (archive / "params.yaml").read_bytes() == PARAMS.encode()


def test_a_clone_keeps_the_features_of_git(archive):
    subprocess.run(["git", "init", "-q", str(archive)], check=True)
    done = reproduce(archive)
    assert done.returncode == 0, done.stderr
    assert not (archive / ".dvc" / "config.local").exists()


def test_dvc_sends_nothing_and_ignores_what_running_leaves():
    settings = ConfigParser()
    settings.read_string("\n".join(x.strip() for x in (ROOT / ".dvc" / "config").read_text().splitlines()))
    assert settings["core"]["analytics"] == "false"
    ignored = (ROOT / ".dvcignore").read_text().splitlines()
    assert {"__pycache__/", "*.egg-info/", "work/", ".venv/"} <= set(ignored)
    # The receipt of stage `track` is an output of DVC.
    assert not any(line.startswith(("mlflow", "/mlflow")) for line in ignored)


def test_licence_and_citation():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert citation["license"] == "Apache-2.0"
    assert str(citation["version"]) == __version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_zenodo_says_what_the_citation_says():
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    deposit = json.loads((ROOT / ".zenodo.json").read_text())
    for key in ("title", "license", "version", "keywords"):
        assert deposit[key] == citation[key], key
    assert deposit["description"] == " ".join(citation["abstract"].split())
    assert deposit["upload_type"] == citation["type"]
    assert [creator["name"] for creator in deposit["creators"]] == [
        author.get("name") or f"{author['family-names']}, {author['given-names']}"
        for author in citation["authors"]
    ]
    papers = [found["value"] for paper in citation["references"] for found in paper["identifiers"]]
    assert [related["identifier"] for related in deposit["related_identifiers"]] == papers


def test_the_changelog_is_short_and_leads_to_this_version():
    parts = re.split(r"^## (.*)\n", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[
        1:
    ]
    versions = dict(zip(parts[::2], parts[1::2], strict=True))
    assert all(re.fullmatch(r"\d+\.\d+\.\d+( \(unreleased\))?", version) for version in versions)
    assert next(version for version in versions if "(unreleased)" not in version) == __version__
    assert [version for version in versions if "(unreleased)" in version] in ([], [next(iter(versions))])
    for version, text in versions.items():
        assert 1 <= len([line for line in text.splitlines() if line]) <= 10, version


@pytest.mark.executes("make setup", "make setup lint test", "make test")
def test_ci_runs_the_commands_of_the_makefile():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    lines = script.read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make setup", "make lint", "make test"]


def test_the_workflow_runs_ci_on_every_python_and_pins_what_it_uses():
    workflow = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used[0].startswith("actions/checkout@")
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action) for action in used)
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert 30 <= job["timeout-minutes"] <= 360


def test_hooks_are_the_checks_of_make_lint_by_the_tools_of_the_environment():
    (repository,) = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    recipe = (ROOT / "Makefile").read_text().partition("\nlint: tools\n")[2].partition("\n\n")[0]
    linted = [line.split("/")[-1].replace(" --check", "").removesuffix(" .") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in repository["hooks"]] == linted


@pytest.mark.parametrize("kind", ["bug", "results-differ", "feature"])
def test_issue_forms_are_such_as_github_takes(kind):
    form = YAML(typ="safe").load(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{kind}.yml")
    assert {"name", "description", "body"} <= set(form)
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in asked} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in asked)
    assert len({field["id"] for field in asked}) == len(asked)
    assert any(field.get("validations", {}).get("required") for field in asked)
