"""Stage ``autol2@NAME``: AutoL2 against a grid of constant λ; writes results/autol2_NAME.csv and .json."""

from pathlib import Path

from l2dynamics import runtime

runtime.begin_stage()

from l2dynamics import config, pipeline, runs, sweeps


def main(root: Path) -> None:
    name = pipeline.argument(config.AUTOL2)
    params = config.load_params(root)
    section = config.load_section(root, params.scale, f"autol2.{name}", config.AutoL2Sweep)
    plan = sweeps.Plan(
        f"autol2@{name}",
        section.setup,
        section.evaluations,
        params.data["source"],
        root,
        controller=section.controller,
        bucket=section.bucket,
        resources=section.resources or config.Resources(),
    )
    where = f"scales/{params.scale}.yaml: autol2.{name}"
    specs = pipeline.list_runs(
        plan, where, lambda per_epoch: runs.of_autol2(name, section, per_epoch, params.seed)
    )
    with pipeline.locked(root, plan.stage):
        resolved = section.model_dump(mode="json", exclude_none=True)
        pipeline.write(pipeline.train(f"autol2_{name}", plan, specs, params, resolved), root)


if __name__ == "__main__":
    pipeline.main(main)
