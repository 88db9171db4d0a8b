"""Peak memory of a sweep of 10, 100 and 1000 runs: ``python -m bench memory``."""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Row

RUNS = (10, 100, 1000)
BUCKET = 8


def peak_megabytes(runs: int) -> float:
    """Train so many short runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "bench.memory", str(runs), folder],
            capture_output=True,
            text=True,
            check=True,
        )
    return float(json.loads(done.stdout.splitlines()[-1]))


def rows() -> list[Row]:
    """One row per number of runs."""
    peaks = {runs: peak_megabytes(runs) for runs in RUNS}
    first = peaks[RUNS[0]]
    return [
        Row(f"peak memory of a sweep of {runs:,} runs", f"{peak:.0f} MB", ratio=f"{peak / first:.2f}")
        for runs, peak in peaks.items()
    ]


def _sweep(count: int, folder: Path) -> float:
    from l2dynamics.training import numerics

    numerics.configure()
    from bench.worker import section
    from l2dynamics import paths
    from l2dynamics.experiments.recipe import Recipe
    from l2dynamics.experiments.runs import RunSpec
    from l2dynamics.experiments.scales import Executor
    from l2dynamics.running import executors, workload
    from l2dynamics.training import curves

    setup, _ = section("fc")
    recipe = Recipe("bench", setup, 3, "sample", paths.find_root(), bucket=BUCKET)
    specs = [RunSpec("grid", 0.1, 1e-3, seed, setup.sigma_w, 4.0, 4) for seed in range(count)]
    jobs = [workload.Job(recipe, job.specs, folder) for job in workload.jobs(recipe, specs)]
    executors.run(jobs, Executor(kind="in_process"), lambda event: None)
    finished = [found for job in jobs if (found := workload.load(job)) is not None]
    assert curves.table([(job.specs, job.curves) for job in finished], specs, 1)["run"].nunique() == count
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(_sweep(int(sys.argv[1]), Path(sys.argv[2])))
