"""Stage ``autol2@NAME``: AutoL2 against a grid of constant λ; writes results/autol2_NAME.csv and .json."""

import sys
from pathlib import Path

from l2dynamics import paths, runtime

runtime.configure(cache=paths.work(paths.find_root()) / "xla")

from l2dynamics import config, pipeline, runs, sweeps


def main(root: Path) -> None:
    name = sys.argv[1]
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
    per_epoch = section.setup.steps_per_epoch(len(sweeps.dataset(plan).train_labels))
    specs = runs.of_autol2(name, section, per_epoch, params.seed)
    with pipeline.locked(root, plan.stage):
        resolved = section.model_dump(mode="json", exclude_none=True)
        pipeline.write(pipeline.train(f"autol2_{name}", plan, specs, params, resolved), root)


if __name__ == "__main__":
    pipeline.main(main)
