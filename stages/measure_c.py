"""Stage ``measure_c``: short runs at large λ measure c = t* λ of FC, CNN and WRN; writes results/measure_c.*."""

from functools import partial
from pathlib import Path

from l2dynamics import runtime

runtime.begin_stage()

from l2dynamics import coefficient, config, pipeline, runs


def main(root: Path) -> None:
    params = config.load_params(root)
    sections = config.load_section(root, params.scale, "measure_c", config.MeasureCs)
    plans = {}
    for setup in ("fc", "cnn", "wrn"):
        section: config.MeasureC = getattr(sections, setup)
        plan = pipeline.plan(f"measure_c/{setup}", section, params, root)
        list_of = partial(runs.of_measure_c, setup, section, seed=params.seed)
        specs = pipeline.list_runs(plan, params, f"measure_c.{setup}", list_of)
        plans[setup] = (plan, specs, section.model_dump(mode="json", exclude_none=True))
    with pipeline.locked(root, "measure_c"):
        measured = {
            setup: pipeline.train("measure_c", plan, specs, params, resolved)
            for setup, (plan, specs, resolved) in plans.items()
        }
        pipeline.write(coefficient.combine(measured), root)


if __name__ == "__main__":
    pipeline.main(main)
