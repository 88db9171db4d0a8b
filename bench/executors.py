"""Runs per hour on one to four workers, by processes and by Ray: ``python -m bench executors``.

Every measurement is a process of its own with an empty ``work/``; compilations come from a cache that a first,
unmeasured one has filled. What a task costs besides its steps is the time of the cores in use that computes no step,
per task. The limit is the steps alone, shared evenly by these cores. What is measured also goes to
``bench/executors.csv``, which ``scripts/scaling_figure.py`` draws.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Row

JOBS, EPOCHS = 12, 200
WORKERS = (1, 2, 3, 4)
REPEATS = 3
FILE = Path(__file__).with_suffix(".csv")


def measure(kind: str, workers: int, cache: str) -> dict[str, float]:
    """Train the runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "bench.executors", kind, str(workers), folder],
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows() -> list[Row]:
    """One row per executor and number of workers; the competitors take turns."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as cache:
        measure("processes", 2, cache)
        rounds = [
            {(kind, n): measure(kind, n, cache) for kind in ("processes", "ray") for n in WORKERS}
            for _ in range(REPEATS)
        ]
    found, written = [], []
    for kind, n in rounds[0]:
        wall = statistics.median(one[kind, n]["wall"] for one in rounds)
        pure = statistics.median(one[kind, n]["pure"] for one in rounds)
        used = min(n, cores)
        # With more workers than cores a step also waits for its core.
        besides = f"; {(n * wall - pure) / JOBS:.2f} s a task besides its steps" if n <= cores else ""
        alone = statistics.median(one["processes", 1]["pure"] for one in rounds)
        written.append((kind, n, round(3600 * JOBS / wall), round(3600 * JOBS * used / alone)))
        found.append(
            Row(
                f"{JOBS} FC runs, {kind}, {n} worker{'s' * (n > 1)}",
                f"{3600 * JOBS / wall:.0f} runs/h" + besides,
                limit=f"{3600 * JOBS * used / alone:.0f} runs/h",
                share=f"{alone / used / wall:.0%}",
            )
        )
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("executor", "workers", "runs_per_hour", "limit"), *written])
    return found


def _train(kind: str, workers: int, folder: Path) -> dict[str, float]:
    from l2dynamics.training import numerics

    numerics.configure()
    from bench.worker import section
    from l2dynamics import paths
    from l2dynamics.experiments.recipe import Recipe
    from l2dynamics.experiments.runs import RunSpec
    from l2dynamics.experiments.scales import Executor
    from l2dynamics.running import executors, workload

    setup, _ = section("fc")
    recipe = Recipe("bench", setup, 10, "sample", paths.find_root())
    specs = [RunSpec("grid", 0.1, 1e-3, seed, setup.sigma_w, EPOCHS, EPOCHS) for seed in range(JOBS)]
    target = folder / workload.key(recipe)[:16]
    jobs = [workload.Job(recipe, job.specs, target) for job in workload.jobs(recipe, specs)]
    if kind == "ray":
        import ray

        # More workers than cores, as the processes may be.
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    executor = Executor(kind="in_process") if workers == 1 and kind != "ray" else None
    began = time.perf_counter()
    executors.run(
        jobs, executor or Executor.model_validate({"kind": kind, "workers": workers}), lambda _: None
    )
    wall = time.perf_counter() - began
    finished = [found for job in jobs if (found := workload.load(job)) is not None]
    assert len(finished) == JOBS
    return {"wall": wall, "pure": sum(one.pure_seconds for one in finished)}


if __name__ == "__main__":
    print(json.dumps(_train(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
