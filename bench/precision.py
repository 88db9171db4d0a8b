"""What bfloat16 does to the claims: the runs of stage ``measure_c`` in both precisions: ``python -m bench precision``.

Same seeds, batches and initial weights. c = t* λ is what every predicted λ is made of; the best accuracy is what the
claims compare. Times mean nothing here: CPUs convert bfloat16 to float32 and back.
"""

import tempfile
from pathlib import Path

import numpy as np

from bench.measure import Row

SCALE = "laptop"


def rows() -> list[Row]:
    """Two rows per setup: c and the best accuracy."""
    from l2dynamics import paths
    from l2dynamics.analysis import coefficient
    from l2dynamics.experiments import runs, scales, schema
    from l2dynamics.experiments.recipe import Recipe
    from l2dynamics.running import executors, workload

    root = paths.find_root()
    params = scales.load_params(root)
    sections = scales.load_section(root, SCALE, "measure_c", schema.MeasureCs)
    found = []
    for name in ("fc", "cnn", "wrn"):
        section: schema.MeasureC = getattr(sections, name)
        measured, best = {}, {}
        for precision in ("float32", "bfloat16"):
            setup = section.setup.model_copy(update={"precision": precision})
            recipe = Recipe.of("bench", section.model_copy(update={"setup": setup}), params, root)
            specs = runs.of_measure_c(name, section, executors.check(recipe, params.executor), params.seed)
            with tempfile.TemporaryDirectory() as folder:
                jobs = [workload.Job(recipe, job.specs, Path(folder)) for job in workload.jobs(recipe, specs)]
                executors.run(jobs, params.executor, lambda event: None)
                finished = [done for job in jobs if (done := workload.load(job)) is not None]
            header = workload.header("bench", SCALE, recipe, {})
            results = workload.results(header, finished, specs, 0.0)
            measured[precision] = coefficient.measure(results)
            best[precision] = results.table.groupby("run", sort=False)["test_accuracy"].max()
        intervals = {p: f"{c['c']:.3g} [{c['low']:.3g}, {c['high']:.3g}]" for p, c in measured.items()}
        change = best["bfloat16"] - best["float32"]
        spread = float(change.std(ddof=1) / np.sqrt(len(change)))
        found += [
            Row(
                f"c of {name}, {SCALE}: float32 and bfloat16",
                f"{intervals['float32']} and {intervals['bfloat16']}",
                ratio=f"{measured['bfloat16']['c'] / measured['float32']['c']:.2f}",
            ),
            Row(
                f"best accuracy of {name}: bfloat16 − float32, {len(change)} pairs of runs",
                f"{change.mean():+.4f} ± {spread:.4f}",
            ),
        ]
    return found
