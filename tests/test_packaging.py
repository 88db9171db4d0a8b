import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from l2dynamics import __version__, config

ROOT = Path(__file__).resolve().parents[1]
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
    pinned = pins()
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
        "l2dynamics/templates/vendor/uplot/LICENSE",
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


@pytest.mark.parametrize("target", ["setup", "reproduce", "figures", "ui", "test", "lint"])
def test_every_target_does_its_own_setup(makefile, target):
    done = make(makefile, "--dry-run", target)
    assert done.returncode == 0, done.stderr
    assert "--constraint constraints.txt --editable '.[test]'" in done.stdout
    assert done.stdout.index("-m venv") < done.stdout.index("pip install")


@pytest.mark.parametrize("target", ["setup", "test"])
def test_nothing_is_installed_twice(makefile, target):
    (makefile / ".venv").mkdir()
    (makefile / ".venv" / ".stamp").touch()
    assert "pip install" not in make(makefile, "--dry-run", target).stdout
    os.utime(makefile / "constraints.txt", (2**31, 2**31))
    assert "pip install" in make(makefile, "--dry-run", target).stdout


def test_old_python_is_refused_in_one_line(makefile):
    old = makefile / "python3.9"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi\n')
    old.chmod(0o755)
    done = make(makefile, "setup", f"PYTHON={old}")
    assert done.returncode != 0
    assert "is Python 3.9.2; l2dynamics needs Python 3.11 or newer" in done.stderr
    assert not (makefile / ".venv").exists()


def test_clean_deletes_what_it_names_and_no_more(makefile):
    kept = [
        "results/fc.csv",
        "reports/README.md",
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
    wanted = [*(f"fig@{n}" for n in range(1, 6)), *(f"fig@S{n}" for n in range(1, 13))]
    assert command.partition(" repro ")[2].split() == ["--single-item", "code", *wanted]


PARAMS = (
    "# what does not depend on the scale\nscale: laptop  # smoke, laptop\r\nseed: 0\nother: {scale: laptop}\n"
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
    path = tmp_path / "params.yaml"
    path.write_bytes(PARAMS.encode())
    return path


@pytest.mark.parametrize("scale", config.SCALES)
def test_scale_is_set_and_set_back_without_a_trace(params, scale):
    assert set_scale(params.parent, scale).returncode == 0
    assert params.read_bytes() == PARAMS.replace("scale: laptop  #", f"scale: {scale}  #").encode()
    assert YAML(typ="safe").load(params)["scale"] == scale
    assert set_scale(params.parent, "laptop").returncode == 0
    assert params.read_bytes() == PARAMS.encode()


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
        (["laptp"], PARAMS, "SCALE: 'laptp' is unknown, choose one of smoke, laptop, accelerator, paper"),
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


def test_ci_runs_the_commands_of_the_makefile():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    lines = script.read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make setup", "make lint", "make test"]
