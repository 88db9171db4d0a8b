"""Pilot runs, from which the settings of a scale are chosen: on seeds that no committed run uses.

    python scripts/pilot.py laptop wrn --set batch=64 --eta 0.8 1.6 --l2 0 0.001 0.002

trains the setup of a scale, changed as ``--set`` says, for T = ``--tau`` / (η_eff λ) steps (λ = 0: as long as the
smallest λ) and prints a line per run. Finished runs lie in ``work/pilot``: stopped and called again, it goes on where
it was.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from l2dynamics.running import runtime

if __name__ == "__main__":
    runtime.begin_stage()

import numpy as np
from ruamel.yaml import YAML

from l2dynamics import peaks
from l2dynamics.experiments import inheritance, scales
from l2dynamics.experiments.messages import check
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.schema import Controller
from l2dynamics.experiments.setup import Setup
from l2dynamics.pipeline import stage
from l2dynamics.running import train_job, workload

FIRST_SEED = 1000


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scale", choices=scales.SCALES)
    parser.add_argument("setup")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--eta", nargs="+", type=float, required=True)
    parser.add_argument("--l2", nargs="+", type=float, default=[])
    parser.add_argument("--auto", nargs="*", type=float, default=[], metavar="INIT_L2")
    parser.add_argument("--tau", type=float, default=6.0)
    parser.add_argument("--steps", type=int, help="of all runs, in place of --tau")
    parser.add_argument(
        "--budgets", nargs="*", type=int, default=[], metavar="STEPS", help="best accuracy until"
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--evaluations-per-decade", type=int, default=12)
    parser.add_argument(
        "--source", choices=("sample", "tfds"), help="of the data; default: that of the scale"
    )
    return parser.parse_args()


def setup_of(given: argparse.Namespace, root: Path) -> Setup:
    """The setup of the scale, changed as the command line says."""
    content = scales.read_yaml(root / "scales" / f"{given.scale}.yaml")
    node, _ = inheritance.resolve(content, {"setup": {"from": given.setup}}, given.setup)
    for item in given.set:
        field, _, value = item.partition("=")
        *parents, last = field.split(".")
        inner: dict[str, Any] = node["setup"]
        for parent in parents:
            inner = inner[parent]
        inner[last] = YAML(typ="safe").load(value)
    return check(Setup, node["setup"], f"{given.setup} --set")


def runs(given: argparse.Namespace, setup: Setup, per_epoch: int) -> Iterator[RunSpec]:
    """The runs asked for, the short ones first."""
    smallest = min((l2 for l2 in given.l2 if l2), default=0.0)
    for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
        for eta in given.eta:
            constant = [(l2, False) for l2 in sorted(given.l2, reverse=True)]
            for l2, auto in (*constant, *((l2, True) for l2 in given.auto)):
                rate = eta / (1 - setup.momentum) * (l2 or smallest)
                if not (given.steps or rate):
                    raise ValueError("--steps: needed where no l2 is positive")
                steps = given.steps or round(given.tau / rate)
                measured = {"measure": "minibatch", "init_l2": l2} if auto else {}
                yield RunSpec(
                    "pilot",
                    eta,
                    None if auto else l2,
                    seed,
                    setup.sigma_w,
                    steps / per_epoch,
                    steps,
                    **measured,
                )


def line(spec: RunSpec, setup: Setup, found: workload.Finished, budgets: Sequence[int]) -> str:
    """What is to be known of a run."""
    values = {name: rows[0] for name, rows in found.curves.values.items()}
    accuracy, rate = values["test_accuracy"], spec.eta / (1 - setup.momentum)
    star = float(peaks.star(found.curves.steps, accuracy))
    what = f"η {spec.eta:<6g} {'λ₀' if spec.measure else 'λ '} {spec.first_l2:<8g} seed {spec.seed}"
    within = "".join(f" {np.nanmax(accuracy[found.curves.steps <= end]):.4f}" for end in budgets)
    return (
        f"{what} steps {spec.steps:<6d}{within} best {np.nanmax(accuracy):.4f} final {accuracy[-1]:.4f} t* {star:<6g} "
        f"t*·η_eff·λ {star * rate * spec.first_l2:<6.3g} training {np.nanmax(values['train_accuracy']):.3f}; "
        f"{found.seconds:.0f} s, {1e3 * found.pure_seconds / spec.steps:.1f} ms a step"
    )


def main(root: Path) -> None:
    """Train what has not been trained, and print all."""
    given = arguments()
    setup = setup_of(given, root)
    source = given.source or scales.source(root, given.scale)
    recipe = Recipe(
        "pilot",
        setup,
        given.evaluations_per_decade,
        source,
        root,
        Controller() if given.auto else None,
    )
    for spec in runs(given, setup, workload.check(recipe)):
        (job,) = workload.jobs(recipe, [spec])
        if workload.load(job) is None:
            train_job.execute(job)
        found = workload.load(job)
        assert found is not None
        stage.say(line(spec, setup, found, given.budgets))


if __name__ == "__main__":
    stage.main(main)
