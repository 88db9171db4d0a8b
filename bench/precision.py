"""What bfloat16 does to the claims: the runs of stage ``measure_c`` in both precisions: ``python -m bench precision``.

Same seeds, batches and initial weights. c = t* λ is what every predicted λ is made of; the best accuracy is what the
claims compare. Times mean nothing here: CPUs convert bfloat16 to float32 and back.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from bench.measure import Row

SCALE = "laptop"


def rows() -> list[Row]:
    """Two rows per setup: c and the best accuracy."""
    from l2dynamics import coefficient, config, executors, paths, pipeline, runs, sweeps

    root = paths.find_root()
    params = config.load_params(root)
    sections = config.load_section(root, SCALE, "measure_c", config.MeasureCs)
    found = []
    for name in ("fc", "cnn", "wrn"):
        section: config.MeasureC = getattr(sections, name)
        measured, best = {}, {}
        for precision in ("float32", "bfloat16"):
            setup = section.setup.model_copy(update={"precision": precision})
            plan = pipeline.plan("bench", section.model_copy(update={"setup": setup}), params, root)
            list_of = partial(runs.of_measure_c, name, section, seed=params.seed)
            specs = pipeline.list_runs(plan, params, f"measure_c.{name}", list_of)
            with tempfile.TemporaryDirectory() as folder:
                jobs = [sweeps.Job(plan, job.specs, Path(folder)) for job in sweeps.jobs(plan, specs)]
                executors.run(jobs, params.executor, lambda event: None)
                finished = [done for job in jobs if (done := sweeps.load(job)) is not None]
            header = sweeps.header("bench", SCALE, plan, {})
            results = sweeps.results(header, plan, finished, specs, 0.0)
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
