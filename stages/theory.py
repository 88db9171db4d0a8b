"""Stage ``theory``: section 4 of the paper, Figures 5 and X5, claims 16 to 18, c7 and x5; writes results/theory.*."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics.running import runtime

runtime.begin_stage("l2dynamics.theory.tasks")

from l2dynamics.experiments import scales
from l2dynamics.pipeline import stage
from l2dynamics.results import tables
from l2dynamics.running import locks
from l2dynamics.theory import execution, schema


def main(root: Path) -> None:
    params = scales.load_params(root)
    section = scales.load_section(root, params.scale, "theory", schema.TheoryConfig)
    with locks.locked(root, "theory"):
        results = execution.run(section, params, root)
        tables.write(results, root)
    stage.conclude(execution.summary(results.passport))


if __name__ == "__main__":
    stage.main(main)
