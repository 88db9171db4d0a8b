"""Stage ``measure_c``: short runs at large λ measure c = t* λ of FC, CNN and WRN; writes results/measure_c.*."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics.running import runtime

runtime.begin_stage()

from l2dynamics.analysis import coefficient
from l2dynamics.experiments import runs, scales, schema
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.pipeline import training_stage
from l2dynamics.running import executors


def main(root: Path) -> None:
    params = scales.load_params(root)
    sections = scales.load_section(root, params.scale, "measure_c", schema.MeasureCs)
    todo = {}
    for setup, section in sections:
        recipe = Recipe.of(f"measure_c/{setup}", section, params, root)
        with training_stage.complaints_about(params, f"measure_c.{setup}"):
            per_epoch = executors.check(recipe, params.executor)
            specs = runs.of_measure_c(setup, section, per_epoch, params.seed)
        todo[setup] = recipe, specs, section.model_dump(mode="json", exclude_none=True)
    with training_stage.locked(root, "measure_c"):
        measured = {
            setup: training_stage.train("measure_c", recipe, specs, params, resolved)
            for setup, (recipe, specs, resolved) in todo.items()
        }
        training_stage.write(coefficient.combine(measured), root, "measure_c")


if __name__ == "__main__":
    training_stage.main(main)
