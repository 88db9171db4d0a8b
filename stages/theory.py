"""Stage ``theory``: section 4 of the paper, Figure 5 and the claims 16 to 18; writes results/theory.csv and .json."""

from pathlib import Path

from l2dynamics import runtime

runtime.begin_stage("jax_cache", workers="l2dynamics.theory_tasks")

from l2dynamics import config, locks, stage, theory_stage
from l2dynamics.theory_config import TheoryConfig


def main(root: Path) -> None:
    params = config.load_params(root)
    section = config.load_section(root, params.scale, "theory", TheoryConfig)
    with locks.locked(root, "theory"):
        theory_stage.run(section, params, root)


if __name__ == "__main__":
    stage.main(main)
