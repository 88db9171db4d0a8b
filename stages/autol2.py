"""Stage ``autol2@NAME``: AutoL2 against a grid of constant λ; writes results/autol2_NAME.csv and .json."""

from functools import partial
from pathlib import Path

from l2dynamics import runtime

runtime.begin_stage()

from l2dynamics import config, pipeline, runs, stage


def main(root: Path) -> None:
    name = stage.argument(config.AUTOL2)
    params = config.load_params(root)
    section = config.load_section(root, params.scale, f"autol2.{name}", config.AutoL2Sweep)
    plan = pipeline.plan(f"autol2@{name}", section, params, root)
    list_of = partial(runs.of_autol2, name, section, seed=params.seed)
    specs = pipeline.list_runs(plan, params, f"autol2.{name}", list_of)
    with pipeline.locked(root, plan.stage):
        resolved = section.model_dump(mode="json", exclude_none=True)
        pipeline.write(pipeline.train(f"autol2_{name}", plan, specs, params, resolved), root)


if __name__ == "__main__":
    pipeline.main(main)
