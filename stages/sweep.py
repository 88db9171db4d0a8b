"""Stage ``sweep@NAME``: train every run of one sweep of the paper; writes results/NAME.csv and .json."""

from functools import partial
from pathlib import Path

from l2dynamics import runtime

runtime.begin_stage()

from l2dynamics import config, pipeline, runs, stage


def main(root: Path) -> None:
    params = config.load_params(root)
    name = stage.argument(config.sweep_names(root, params.scale))
    section = config.load_section(root, params.scale, name, config.Sweep)
    plan = pipeline.plan(f"sweep@{name}", section, params, root)
    c = None
    if section.predicted is not None:
        c = pipeline.measured_c(root, section.predicted.c_of)
    list_of = partial(runs.of_sweep, name, section, seed=params.seed, c=c)
    specs = pipeline.list_runs(plan, params, name, list_of)
    with pipeline.locked(root, plan.stage):
        resolved = section.model_dump(mode="json", exclude_none=True) | ({"c": c} if c else {})
        pipeline.write(pipeline.train(name, plan, specs, params, resolved), root)


if __name__ == "__main__":
    pipeline.main(main)
