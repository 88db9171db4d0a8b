"""Stage ``sweep@NAME``: train every run of one sweep of the paper; writes results/NAME.csv and .json."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics.running import runtime

runtime.begin_stage()

from l2dynamics.experiments import runs, scales, schema
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.pipeline import stage, training_stage
from l2dynamics.running import executors


def main(root: Path) -> None:
    params = scales.load_params(root)
    name = stage.argument()
    section = scales.load_section(root, params.scale, name, schema.Sweep)
    recipe = Recipe.of(f"sweep@{name}", section, params, root)
    c = training_stage.measured_c(root, section.predicted.c_of) if section.predicted else None
    with training_stage.complaints_about(params, name):
        per_epoch = executors.check(recipe, params.executor)
        specs = runs.of_sweep(name, section, per_epoch, params.seed, c)
    resolved = section.model_dump(mode="json", exclude_none=True) | ({"c": c} if c else {})
    with training_stage.locked(root, recipe.stage):
        results = training_stage.train(name, recipe, specs, params, resolved)
        training_stage.write(results, root, recipe.stage)


if __name__ == "__main__":
    training_stage.main(main)
