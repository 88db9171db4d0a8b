"""Stage ``measure_c``: short runs at large λ measure c = t* λ of FC, CNN and WRN; writes results/measure_c.*."""

from pathlib import Path

from l2dynamics import paths, runtime

runtime.configure(cache=paths.work(paths.find_root()) / "xla")

from l2dynamics import coefficient, config, pipeline, runs, sweeps


def main(root: Path) -> None:
    params = config.load_params(root)
    sections = config.load_section(root, params.scale, "measure_c", config.MeasureCs)
    measured = {}
    with pipeline.locked(root, "measure_c"):
        for setup in ("fc", "cnn", "wrn"):
            section: config.MeasureC = getattr(sections, setup)
            plan = sweeps.Plan(
                f"measure_c/{setup}",
                section.setup,
                section.evaluations,
                params.data["source"],
                root,
                bucket=section.bucket,
                resources=section.resources or config.Resources(),
            )
            per_epoch = section.setup.steps_per_epoch(len(sweeps.dataset(plan).train_labels))
            specs = runs.of_measure_c(setup, section, per_epoch, params.seed)
            resolved = section.model_dump(mode="json", exclude_none=True)
            measured[setup] = pipeline.train("measure_c", plan, specs, params, resolved)
        pipeline.write(coefficient.combine(measured), root)


if __name__ == "__main__":
    pipeline.main(main)
