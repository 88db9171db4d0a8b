"""Stage ``sweep@NAME``: train every run of one sweep of the paper; writes results/NAME.csv and .json."""

from pathlib import Path

from l2dynamics import runtime

runtime.begin_stage()

from l2dynamics import config, pipeline, runs, sweeps


def main(root: Path) -> None:
    params = config.load_params(root)
    name = pipeline.argument(config.sweep_names(root, params.scale))
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
        c = pipeline.measured_c(root, section.predicted.c_of)
    where = f"scales/{params.scale}.yaml: {name}"
    specs = pipeline.list_runs(
        plan, where, lambda per_epoch: runs.of_sweep(name, section, per_epoch, params.seed, c)
    )
    with pipeline.locked(root, plan.stage):
        resolved = section.model_dump(mode="json", exclude_none=True) | ({"c": c} if c else {})
        pipeline.write(pipeline.train(name, plan, specs, params, resolved), root)


if __name__ == "__main__":
    pipeline.main(main)
