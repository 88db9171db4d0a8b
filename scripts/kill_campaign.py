"""Kill stages at random moments, let the same command go on, and compare the results with those of an unharmed copy.

Usage: ``python scripts/kill_campaign.py [--kills N] [--seed S] [--stages sweep autol2 measure_c theory track]
[--report FILE]``, in the checkout. It works on a small copy in a temporary folder and takes about a second of CPU for
every start of a stage and two for every compilation; N is the number of kills per stage.

Ways to be killed: ``kill`` (SIGKILL of the stage alone, its workers are orphans), ``power`` (SIGKILL of all processes
and the newest file cut at a random place), ``worker`` (SIGKILL of one worker), ``term`` and ``ctrl-c``. After SIGTERM
and Ctrl-C the stage must end within 30 s with exit code 75. Finished runs must not be trained again, tables must be
equal byte for byte, passports but for their times, the figures that need no other results (S5 and 5) byte for byte, and
the store of MLflow run for run and point for point.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l2dynamics import paths

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "sweep": ["sweep.py", "fc_mse"],
    "autol2": ["autol2.py", "fc"],
    "measure_c": ["measure_c.py"],
    "theory": ["theory.py"],
    "track": ["track.py"],
}
FIGURES = {"sweep": "figS5", "theory": "fig5"}
WAYS = ("kill", "term", "power", "ctrl-c", "worker")
NO_WORKERS = ("track",)
PATIENCE = 30.0


def sections(epochs: int) -> dict[str, Any]:
    """Small sections of a scale file; pauses of 50 / λ steps keep AutoL2 in its refractory period most of the time."""
    setup = {
        "data": {"name": "mnist", "train": 64, "test": 64, "image_size": 7},
        "model": {"kind": "fc", "depth": 2, "width": 32},
        "batch": 32,
        "sigma_w": 1.4,
        "eval_batch": 64,
    }
    common = {"setup": setup, "evaluations_per_decade": 6}
    length = {"epochs": epochs}
    measure = {**common, "eta": 0.5, "l2": [0.05, 0.02], "length": length}
    controller = {"every": 5, "decay": 0.3, "refractory": 50}
    decay = {"depths": [1], "widths": [32, 64], "samples": 8, "seeds": 1, "l2": 0.5, "points": 3}
    return {
        "fc_mse": {
            **common,
            "setup": {**setup, "loss": "mse"},
            "bucket": 2,
            "grids": [{"eta": [0.1], "l2": [0.01, 0.001], "seeds": 2, "length": length}],
        },
        "autol2": {
            "fc": {
                **common,
                **{"eta": 0.3, "epochs": epochs, "l2": [0.01], "seeds": 2},
                **{"controller": controller, "measures": ["minibatch"]},
            }
        },
        "measure_c": {"fc": measure, "cnn": measure, "wrn": measure},
        "theory": {
            **{
                "samples": 24,
                "test": 20,
                "kernel_width": 64,
                "minimum_l2": [0.05, 0.2, 1.0],
                "convolutional": False,
            },
            "panel_c": {"eta": 0.1, "width": 48, "horizon": 0.1, "evaluations": 20},
            "training": {"eta": 0.1, "widths": [16, 32], "evaluations": 20},
            "test_minimum": {"width": 32, "l2": [0.5], "eta": 0.1, "horizon": 1.0},
            "test_star": {"l2": [0.05, 0.2, 1.0], "test": 20, "per_decade": 12},
            "convergence": {"widths": [16, 32, 64], "samples": 8, "seeds": 1},
            "decay": decay,
            "deep_linear": {"depths": [1], "widths": [4, 9], "strengths": [0.2]},
        },
    }


@dataclass
class Tally:
    """What happened to one stage."""

    ways: Counter[str] = field(default_factory=Counter)
    moments: list[float] = field(default_factory=list)
    slowest_stop: float = 0.0
    cut_bytes: int = 0
    trials: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def checkout(folder: Path, epochs: int) -> Path:
    """A checkout with the MNIST sample and small sections, without results."""
    for name in ("stages", "data/sample/mnist"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "data/manifests/sample/mnist.json", "data/sample/SHA256SUMS"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(
        "scale: smoke\nseed: 0\ndata: {source: sample}\nexecutor: {kind: processes, workers: 2}\n"
    )
    (folder / "scales").mkdir()
    (folder / "scales" / "smoke.yaml").write_text(json.dumps(sections(epochs)))
    return folder


def start(root: Path, *command: str) -> "subprocess.Popen[str]":
    """Start a stage as the leader of its own group of processes."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    environment |= {"L2DYNAMICS_ROOT": str(root), "L2DYNAMICS_TRACKING": "off"}
    environment |= {"L2DYNAMICS_CHECKPOINT_SECONDS": "0.2", "PYTHONDONTWRITEBYTECODE": "1"}
    # All copies share what XLA has compiled: most of the time of so small a stage.
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(root.parent / "xla")}
    return subprocess.Popen(
        [sys.executable, f"stages/{command[0]}", *command[1:]],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished_runs(root: Path) -> dict[Path, tuple[int, int]]:
    """Files of finished runs with size and time of writing."""
    files = [
        file
        for file in (root / "work").rglob("*.npz")
        if file.name != "wall.npz" and file.parent.name != "data"  # decoded images
    ]
    return {
        file: (file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if not file.name.startswith(".")
    }


def cut_newest(root: Path, draw: random.Random) -> tuple[Path, int] | None:
    """Cut the newest file at a random place, as a power cut may do; return it and the bytes lost."""
    files = [
        file for file in (root / "work").rglob("*") if file.is_file() and file.suffix not in {".lock", ".log"}
    ]
    files = [file for file in files if file.stat().st_size and "-atime" not in file.name]
    if not files:
        return None
    newest = max(files, key=lambda file: file.stat().st_mtime_ns)
    size = newest.stat().st_size
    rest = draw.randrange(size)
    os.truncate(newest, rest)
    return newest, size - rest


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    """Worker processes of a stage: what its fork server has forked."""
    servers = [child for child in _children(process.pid) if "forkserver" in _command(child)]
    return [worker for server in servers for worker in _children(server)]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def kill(
    process: "subprocess.Popen[str]", way: str, root: Path, draw: random.Random, tally: Tally
) -> Path | None:
    """Harm a running stage and wait for its end; return the file that was cut."""
    cut = None
    if way == "worker":
        if not (workers := workers_of(process)):
            way = "kill"
        else:
            os.kill(draw.choice(workers), signal.SIGKILL)
    began = time.monotonic()
    if way in {"kill", "term"}:
        process.send_signal(signal.SIGKILL if way == "kill" else signal.SIGTERM)
    elif way in {"power", "ctrl-c"}:
        os.killpg(process.pid, signal.SIGKILL if way == "power" else signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    seconds = time.monotonic() - began
    tally.ways[way] += 1
    if "Traceback" in errors:
        tally.problems.append(f"{way}: a traceback: {errors[-600:]}")
    if way in {"term", "ctrl-c"}:
        # 0: it had finished when the signal came. Python itself takes a moment until a stage can handle signals.
        tally.slowest_stop = max(tally.slowest_stop, seconds)
        early = process.returncode in {-signal.SIGTERM, -signal.SIGINT} and not errors
        if process.returncode not in {75, 0} and not early:
            tally.problems.append(f"{way}: exit code {process.returncode}: {errors[-600:]}")
        if seconds > PATIENCE:
            tally.problems.append(f"{way}: {seconds:.0f} s until the end")
    elif way == "worker" and process.returncode != 0:
        tally.problems.append(f"worker: exit code {process.returncode}: {errors[-600:]}")
    elif way == "power" and (found := cut_newest(root, draw)):
        cut, lost = found
        tally.cut_bytes += lost
    return cut


def untimed(value: Any) -> Any:
    """A passport without its times."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if "seconds" not in k}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def store(root: Path) -> dict[str, Any]:
    """Every active run of the MLflow store by its key, with parameters, tags and points."""
    with closing(sqlite3.connect(root / "mlflow/mlflow.db")) as db:
        keys = db.execute(
            "SELECT run_uuid, value FROM tags JOIN runs USING (run_uuid) "
            "WHERE key = 'l2dynamics.key' AND lifecycle_stage = 'active'"
        ).fetchall()
        found: dict[str, Any] = {}
        for run, key in keys:
            assert key not in found, f"{key} is doubled"
            points = db.execute(
                "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ?", [run]
            ).fetchall()
            params = db.execute("SELECT key, value FROM params WHERE run_uuid = ?", [run]).fetchall()
            status = db.execute("SELECT status FROM runs WHERE run_uuid = ?", [run]).fetchall()
            timeless = [point for point in points if "seconds" not in point[0]]
            found[key] = (sorted(timeless), sorted(p for p in params if "seconds" not in p[0]), status)
    return found


def outcome(root: Path, stage: str) -> dict[str, Any]:
    """Everything that must be equal."""
    if stage == "track":
        return {"store": store(root), "receipt": (root / "mlflow/receipt.json").read_bytes()}
    name = {"sweep": "fc_mse", "autol2": "autol2_fc"}.get(stage, stage)
    folder = paths.results(root)
    found = {
        "table": (folder / f"{name}.csv").read_bytes(),
        "passport": untimed(json.loads((folder / f"{name}.json").read_text())),
    }
    if stage in FIGURES:
        finish(root, "figure.py", FIGURES[stage])
        drawn = sorted(paths.figures(root).rglob(f"{FIGURES[stage]}.*"))
        found["figure"] = {str(file.relative_to(root)): file.read_bytes() for file in drawn}
    return found


def finish(root: Path, *command: str) -> float:
    """Run a stage to its end; return seconds."""
    began = time.monotonic()
    process = start(root, *command)
    _, errors = process.communicate(timeout=1200)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ends with {process.returncode}: {errors[-2000:]}")
    return time.monotonic() - began


def campaign(
    folder: Path,
    stages: Sequence[str],
    kills: int,
    seed: int,
    *,
    epochs: int = 8000,
    ways: Sequence[str] = WAYS,
) -> dict[str, Tally]:
    """Kill every stage ``kills`` times; the answer lists what went wrong, too."""
    draw = random.Random(seed)
    whole = checkout(folder / "whole", epochs)
    tallies: dict[str, Tally] = {}
    for stage in stages:
        tally = tallies[stage] = Tally()
        duration = finish(whole, *COMMANDS[stage])
        expected = outcome(whole, stage)
        possible = [way for way in ways if way != "worker" or stage not in NO_WORKERS]
        possible = [
            way for way in possible if way != "power" or stage != "track"
        ]  # SQLite has its own journal
        done = 0
        while done < kills:
            tally.trials += 1
            root = checkout(folder / f"{stage}-{tally.trials}", epochs)
            if stage == "track":
                for shown in ("results", "reports"):
                    if (whole / shown).exists():
                        shutil.copytree(whole / shown, root / shown)
            while done < kills:
                before = finished_runs(root)
                process = start(root, *COMMANDS[stage])
                moment = draw.uniform(0.05, 1.0) * duration
                try:
                    process.wait(moment)
                    process.communicate()
                    break  # it finished first: a new trial, unless it has been killed often enough
                except subprocess.TimeoutExpired:
                    way = possible[done % len(possible)]
                cut = kill(process, way, root, draw, tally)
                tally.moments.append(round(moment, 2))
                done += 1
                print(
                    f"{stage}: kill {done} ({way}) after {moment:.1f} of {duration:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
                again = [file.name for file, was in before.items() if finished_runs(root).get(file) != was]
                again = [name for name in again if cut is None or name != cut.name]
                if again and not (root / "results").exists():
                    tally.problems.append(f"{way}: finished runs were trained again: {again}")
                tally.kept += len(before)
            finish(root, *COMMANDS[stage])
            found = outcome(root, stage)
            differing = [part for part in expected if found[part] != expected[part]]
            tally.problems += [f"trial {tally.trials}: {part} differs" for part in differing]
            if remnants := list((root / "work").rglob("*.tmp")) + list((root / "results").rglob(".*.tmp")):
                tally.problems.append(f"left behind: {[file.name for file in remnants]}")
            shutil.rmtree(root)
        print(summary(stage, tally), flush=True)
    return tallies


def summary(stage: str, tally: Tally) -> str:
    """What happened to a stage, and a line for each problem."""
    ways = ", ".join(f"{count} {way}" for way, count in sorted(tally.ways.items()))
    line = (
        f"{stage}: {sum(tally.ways.values())} kills ({ways}) in {tally.trials} trials; slowest stop "
        f"{tally.slowest_stop:.1f} s; {tally.cut_bytes:,} bytes cut; {len(tally.problems)} problems"
    )
    return "\n".join([line, *(f"  {problem}" for problem in tally.problems)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per stage; the exit code is 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--epochs", type=int, default=8000)
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tallies = campaign(Path(folder), chosen.stages, chosen.kills, chosen.seed, epochs=chosen.epochs)
    if chosen.report:
        chosen.report.write_text(
            json.dumps({stage: vars(t) for stage, t in tallies.items()}, indent=2) + "\n"
        )
    return int(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
