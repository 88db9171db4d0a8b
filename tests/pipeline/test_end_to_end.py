"""The whole pipeline at scale smoke in a copy of the checkout: results, figures, claims, report; then nothing to do."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT

from l2dynamics.claims.evaluation import METRICS
from l2dynamics.experiments import registry
from l2dynamics.figures import gallery

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
RESULTS = [*registry.SWEEPS, *(f"autol2_{name}" for name in registry.AUTOL2), "measure_c"]


def call(root, *command, **environment):
    """Run a command in the copy, as from a shell in which .venv is active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # The copy must run its own code, also where the package is installed from the checkout under test.
    env = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(root / "src"),
        "DVC_NO_ANALYTICS": "1",
        **environment,
    }
    env.pop("L2DYNAMICS_ROOT", None)
    env.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def make(root, *words):
    """Run a target of the Makefile in the environment under test, which is taken as set up."""
    venv = Path(sys.executable).parents[1]
    return call(root, "make", f"VENV={venv}", "-o", f"{venv}/.stamp", *words)


def stages_run(output):
    return set(re.findall(r"Running stage '([^']+)'", output))


@pytest.fixture
def copy(tmp_path):
    """The tracked files of the working tree as a fresh git repository, without results and reports."""
    root = tmp_path / "l2dynamics"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, listed):
        generated = name == "dvc.lock" or (
            name.startswith(("results/", "reports/")) and not name.endswith(".gitignore")
        )
        if not generated and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    call(root, "git", "init", "-q")
    call(root, "git", "add", "-A")
    call(root, "git", *IDENTITY, "commit", "-q", "-m", "copy")
    return root


@pytest.mark.executes(
    "python scripts/set_scale.py smoke",
    "dvc repro",
    "dvc repro fig@2",
    "dvc repro fig@S5",
    "dvc repro track",
    "dvc metrics show",
    "make reproduce",
    "make reproduce SCALE=smoke",
    "make figures",
    "dvc exp run -S 'scales/laptop.yaml:fc.evaluations_per_decade=60' fig@2",
    "dvc exp run -S scale=smoke -S 'scales/smoke.yaml:fc_mse.evaluations_per_decade=30' fig@S5",
    "dvc exp show --md --drop '.*' --keep 'Experiment|params.yaml:scale|.*fc_mse.evaluations'",
    "dvc metrics diff HEAD~4",
    "dvc plots diff HEAD~1 --targets results/laptop/fc_mse.csv",
)
@pytest.mark.e2e
def test_the_pipeline_at_scale_smoke(copy):
    call(copy, "python", "scripts/set_scale.py", "smoke")
    output = call(copy, "dvc", "repro")
    ran = stages_run(output)
    assert ran >= {
        "data@mnist",
        "data@cifar10",
        "measure_c",
        "theory",
        "claims",
        "report",
        "overview",
        "track",
        *map(gallery.stage, gallery.NAMES),
    }
    assert ran >= {f"sweep@{name}" for name in registry.SWEEPS} | {
        f"autol2@{name}" for name in registry.AUTOL2
    }

    for name in RESULTS:
        passport = json.loads((copy / "results" / "smoke" / f"{name}.json").read_text())
        assert (passport["name"], passport["scale"], passport["status"]) == (name, "smoke", "done")
        assert (copy / "results" / "smoke" / f"{name}.csv").stat().st_size > 1000
    for name in gallery.NAMES:
        png, svg = (copy / "reports" / "smoke" / "figures" / f"{name}.{kind}" for kind in ("png", "svg"))
        assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert "</svg>" in svg.read_text()
        assert (
            len((copy / "reports" / "smoke" / "figures" / "data" / f"{name}.csv").read_text().splitlines())
            > 1
        )
    claims = {
        path.stem: json.loads(path.read_text())
        for path in (copy / "reports" / "smoke" / "claims").glob("*.json")
    }
    assert set(claims) >= {f"{number:02d}" for number in range(1, 19)}
    for name, record in claims.items():
        assert set(record) == set(METRICS), name
        assert record["scale"] == "smoke", name
    for report in ("README.md", "index.html"):
        text = (copy / "reports" / "smoke" / report).read_text()
        assert all(name in text for name in gallery.NAMES)
        assert (copy / "reports" / report).is_file()
    assert (copy / "mlflow" / "receipt.json").is_file()

    assert "up to date" in call(copy, "dvc", "status")
    before = time.monotonic()
    assert not stages_run(call(copy, "dvc", "repro"))
    print(f"second dvc repro: {time.monotonic() - before:.1f} s")

    # Another style redraws figures and trains nothing.
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("style: paper", "style: slides"))
    picture = (copy / "reports" / "smoke" / "figures" / "fig2.png").read_bytes()
    ran = stages_run(call(copy, "dvc", "repro", "fig@2", "fig@S5"))
    assert ran == {"fig@2", "fig@S5"}
    assert (copy / "reports" / "smoke" / "figures" / "fig2.png").read_bytes() != picture
    # And back: the same bytes.
    params.write_text(params.read_text().replace("style: slides", "style: paper"))
    call(copy, "dvc", "repro", "fig@2", "fig@S5")
    assert (copy / "reports" / "smoke" / "figures" / "fig2.png").read_bytes() == picture

    # The commands of README and guides that have not run yet, with numbers of this scale.
    table = call(copy, "dvc", "metrics", "show")
    assert table.splitlines()[0].split()[:2] == ["Path", "claim"]
    assert max(map(len, table.splitlines())) < 300
    assert not stages_run(make(copy, "reproduce", "SCALE=smoke"))
    assert stages_run(make(copy, "figures")) <= set(map(gallery.stage, gallery.NAMES))
    call(copy, "git", "add", "-A")
    call(copy, "git", *IDENTITY, "commit", "-q", "-m", "smoke")
    ran = stages_run(
        call(copy, "dvc", "exp", "run", "-S", "scales/smoke.yaml:fc.evaluations_per_decade=15", "fig@2")
    )
    assert ran == {"sweep@fc", "fig@2"}
    # The guide compares with HEAD~1; here the experiment is compared with the commit it started from.
    kept = "Experiment|params.yaml:scale|(.*yaml:)?fc.evaluations_per_decade"
    shown = call(copy, "dvc", "exp", "show", "--md", "--drop", ".*", "--keep", kept)
    assert re.search(r"\| workspace +\| smoke +\| 15 ", shown), shown
    call(copy, "dvc", "repro", "claims")
    # It may be empty: at this scale few claims are judged.
    call(copy, "dvc", "metrics", "diff", "HEAD")
    page = copy / "compared"
    call(copy, "dvc", "plots", "diff", "HEAD", "--targets", "results/smoke/fc.csv", "-o", str(page))
    assert "results" in (page / "index.html").read_text()
