"""Stage ``sweep@NAME``: train every run of one sweep of the paper; writes results/NAME.csv and .json."""

import sys
from pathlib import Path

from l2dynamics import paths, runtime

runtime.configure(cache=paths.work(paths.find_root()) / "xla")

from l2dynamics import config, history, pipeline, runs, sweeps


def main(root: Path) -> None:
    name = sys.argv[1]
    params = config.load_params(root)
    section = config.load_section(root, params.scale, name, config.Sweep)
    plan = sweeps.Plan(
        f"sweep@{name}",
        section.setup,
        section.evaluations,
        params.data["source"],
        root,
        bucket=section.bucket,
        resources=section.resources or config.Resources(),
    )
    c = None
    if section.predicted is not None:
        c = history.load("measure_c", root).passport["c"][section.predicted.c_of]["c"]
    per_epoch = section.setup.steps_per_epoch(len(sweeps.dataset(plan).train_labels))
    specs = runs.of_sweep(name, section, per_epoch, params.seed, c)
    with pipeline.locked(root, plan.stage):
        resolved = section.model_dump(mode="json", exclude_none=True) | ({"c": c} if c else {})
        pipeline.write(pipeline.train(name, plan, specs, params, resolved), root)


if __name__ == "__main__":
    pipeline.main(main)
