"""Stage ``autol2@NAME``: AutoL2 against a grid of constant λ; writes results/autol2_NAME.csv and .json."""

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
    section = scales.load_section(root, params.scale, f"autol2.{name}", schema.AutoL2Sweep)
    recipe = Recipe.of(f"autol2@{name}", section, params, root)
    with training_stage.complaints_about(params, f"autol2.{name}"):
        per_epoch = executors.check(recipe, params.executor)
        specs = runs.of_autol2(name, section, per_epoch, params.seed)
    resolved = section.model_dump(mode="json", exclude_none=True)
    with training_stage.locked(root, recipe.stage):
        results = training_stage.train(f"autol2_{name}", recipe, specs, params, resolved)
        training_stage.write(results, root, recipe.stage)


if __name__ == "__main__":
    training_stage.main(main)
