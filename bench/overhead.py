"""What the pipeline costs around the training: start-up, redraws, MLflow, a DAG in which nothing changed."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from bench.measure import REPEATS, Row, cores
from l2dynamics import paths
from l2dynamics.figures import gallery
from l2dynamics.results import tables

COPIED = ("dvc.yaml", "params.yaml", "scales", "results", "reports", "data/manifests")
STARTED = ("fc", "cnn", "wrn")
"""Sweeps whose stages are timed for one step."""


def once(command: list[str], root: Path) -> float:
    """Seconds of a command that works in ``root``."""
    env = {**os.environ, "L2DYNAMICS_ROOT": str(root)}
    env.pop("MLFLOW_TRACKING_URI", None)
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def timed(command: list[str], root: Path, repeats: int = REPEATS) -> float:
    """Median time of a command, after a first call that is not counted."""
    return statistics.median([once(command, root) for _ in range(repeats + 1)][1:])


def copy(root: Path, folder: Path) -> Path:
    """A checkout without code: figures and reports can be written there."""
    for name in COPIED:
        source, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copy(source, target)
    return folder


def many_runs(root: Path, runs: int = 255, points: int = 500) -> None:
    """Results of a sweep with so many runs and about so many points of curves per run."""
    passport = tables.load_passport("fc", root)
    evaluations = points // 8
    steps = np.unique(np.rint(np.geomspace(1, 1e5, evaluations)).astype(int))
    frames = []
    for run in range(runs):
        values = np.linspace(1, 0, len(steps)) / (1 + run / 1000)
        columns = dict.fromkeys(tables.METRICS, values)
        eta, l2 = 0.01 * (1 + run // 15), 0.001 * (1 + run % 15)
        head = {"run": f"run{run}", "group": "grid", "eta": eta, "l2": l2, "seed": 0, "sigma_w": 1.0}
        frame = pd.DataFrame({**head, "budget": 1e5, "step": steps, "epoch": steps.astype(float), **columns})
        frames.append(frame[list(tables.COLUMNS)])
    table = pd.concat(frames, ignore_index=True)
    tables.write(tables.Results("fc", table, {**passport, "runs": runs}), root)


def rows() -> list[Row]:
    """All commands, with the goal as limit."""
    root, python = paths.find_root(), sys.executable
    found = [
        Row("import l2dynamics", f"{timed([python, '-c', 'import l2dynamics'], root):.2f} s", limit="1 s"),
        Row(
            "from l2dynamics import AutoL2 (imports jax and optax)",
            f"{timed([python, '-c', 'from l2dynamics import AutoL2'], root):.2f} s",
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        here = copy(root, Path(folder))
        times = {
            name: timed([python, str(root / "stages" / "figure.py"), name], here, repeats=1)
            for name in gallery.NAMES
        }
        slowest = max(times, key=times.__getitem__)
        middle = statistics.median(times.values())
        found.append(
            Row(
                f"figure redraw, median of {len(times)} (slowest: {slowest})",
                f"{middle:.1f} s ({times[slowest]:.1f} s)",
                limit="3 s",
            )
        )
        report = [python, str(root / "stages" / "report.py")]
        found.append(Row("report", f"{timed(report, here):.1f} s", limit="5 s"))
    with tempfile.TemporaryDirectory() as folder:
        here = copy(root, Path(folder))
        shutil.rmtree(here / "reports", ignore_errors=True)
        for file in (here / "results").rglob("*"):
            if file.is_file() and file.name not in ("fc.json", "fc.csv"):
                file.unlink()
        many_runs(here)
        track = [python, str(root / "stages" / "track.py")]
        first = []
        for _ in range(3):
            shutil.rmtree(here / "mlflow", ignore_errors=True)
            first.append(once(track, here))
        found.append(
            Row(
                "MLflow, 255 runs of 500 points, into an empty store",
                f"{statistics.median(first):.1f} s",
                limit="60 s",
            )
        )
        found.append(Row("MLflow, the same again", f"{timed(track, here):.1f} s", limit="5 s"))
    clean = (
        subprocess.run(["dvc", "status", "--quiet"], cwd=root, check=False, capture_output=True).returncode
        == 0
    )
    found.append(
        Row(
            "dvc repro, nothing changed",
            f"{timed(['dvc', 'repro', '--quiet'], root):.1f} s"
            if clean
            else "not measured: stages are stale",
            limit="5 s",
        )
    )
    found.append(sweeps_row(root))
    return found + start_rows(root)


def sweeps_row(root: Path) -> Row:
    """Time of all training stages that is not training, from the passports of the results at hand."""
    wall = pure = 0.0
    for name in tables.names(root):
        passport = tables.load_passport(name, root)
        if "worker_seconds" in passport:
            wall += passport["wall_seconds"] * passport.get("cores", len(cores()))
            pure += passport["pure_step_seconds"]
    share = 1 - pure / wall if wall else float("nan")
    return Row("training stages, time that is not training steps", f"{share:.0%}", limit="5 %")


def start_rows(root: Path) -> list[Row]:
    """Stages of one run of one step, compiled before: start, data, programs from the cache, evaluation, results."""
    found, yaml = [], YAML(typ="safe")
    with tempfile.TemporaryDirectory() as folder:
        here = copy(root, Path(folder))
        (here / "data" / "sample").symlink_to(root / "data" / "sample")
        (here / "data" / "code").symlink_to(root / "data" / "code")
        scale = here / "scales" / f"{paths.scale(here)}.yaml"
        sections = yaml.load(scale)
        for name in STARTED:
            per_epoch = tables.load_passport(name, root)["steps_per_epoch"]
            grid = {"eta": [0.1], "l2": [0], "length": {"epochs": 1 / per_epoch}}
            sections[name]["grids"] = [grid]
        yaml.dump(sections, scale)
        for name in STARTED:
            seconds = []
            for _ in range(REPEATS + 1):  # the first compiles
                shutil.rmtree(here / "work" / f"sweep@{name}", ignore_errors=True)
                seconds.append(once([sys.executable, str(root / "stages" / "sweep.py"), name], here))
            found.append(
                Row(
                    f"stage sweep@{name} of one step, compiled before",
                    f"{statistics.median(seconds[1:]):.1f} s",
                    limit="3 s",
                )
            )
    return found
