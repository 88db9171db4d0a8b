"""Pilot runs, from which the settings of a scale are chosen: on seeds that no committed run uses.

    python scripts/pilot.py work/pilots.jsonl scales/laptop.yaml wrn --set batch=64 --eta 0.8 1.6 --l2 0 0.001 0.002

trains the setup, changed as ``--set`` says, for T = ``--tau`` / (η_eff λ) steps (λ = 0: as long as the smallest λ) and
appends one line of JSON per run; runs that the file holds already are left out, so that it can be stopped and resumed.
``--show`` prints the file as a table.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from l2dynamics.running import memory, runtime

if __name__ == "__main__":
    memory.keep_freed()
    runtime.begin_stage()

import numpy as np
from ruamel.yaml import YAML

from l2dynamics import paths
from l2dynamics.autol2 import AutoL2
from l2dynamics.data import datasets
from l2dynamics.experiments import inheritance
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.setup import Setup
from l2dynamics.prediction import t_star
from l2dynamics.training.evaluation import evaluation_steps
from l2dynamics.training.trainer import Trainer
from l2dynamics.training.update import hyper_of

FIRST_SEED = 1000


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("scale", type=Path, nargs="?")
    parser.add_argument("setup", nargs="?")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--eta", nargs="+", type=float)
    parser.add_argument("--l2", nargs="+", type=float, default=[])
    parser.add_argument("--auto", nargs="*", type=float, default=[], metavar="INIT_L2")
    parser.add_argument("--tau", type=float, default=6.0)
    parser.add_argument("--steps", type=int, help="of all runs, in place of --tau")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--source", default="tfds")
    parser.add_argument("--show", action="store_true")
    return parser.parse_args()


def setup_of(given: argparse.Namespace) -> Setup:
    """The setup of the scale, changed as the command line says."""
    content = YAML(typ="safe").load(given.scale)
    node, _ = inheritance.resolve(content, {"setup": {"from": given.setup}}, given.setup)
    changed: dict[str, Any] = node["setup"]
    for item in given.set:
        field, _, value = item.partition("=")
        *parents, last = field.split(".")
        inner = changed
        for parent in parents:
            inner = inner[parent]
        inner[last] = YAML(typ="safe").load(value)
    return Setup.model_validate(changed)


def show(file: Path) -> None:
    """Print the runs of a file as a table."""
    for line in file.read_text().splitlines():
        run = json.loads(line)
        effective = run["eta"] / (1 - run["setup"].get("momentum", 0))
        best, final = max(run["test_accuracy"]), run["test_accuracy"][-1]
        star = t_star(np.array(run["steps"]), np.array(run["test_accuracy"]))
        print(
            f"{run['name']:40s} η {run['eta']:<6g} λ {run['l2']:<8g}{'auto ' if run['auto'] else ''} "
            f"seed {run['seed']} steps {run['steps'][-1]:<6d} best {best:.4f} final {final:.4f} "
            f"t* {star:<7g} t*ηλ {star * effective * run['l2']:<6.3g} train {max(run['train_accuracy']):.3f} "
            f"{run['seconds']:.0f} s, {1e3 * run['seconds'] / run['steps'][-1]:.1f} ms a step"
        )


def main() -> None:
    """Train what the file does not hold yet."""
    given = arguments()
    if given.show:
        show(given.out)
        return
    setup = setup_of(given)
    data = setup.data
    loaded = datasets.load(
        data.name,
        train=data.train,
        test=data.test,
        image_size=data.image_size,
        source=given.source,
        root=paths.find_root(),
        verify_manifest=False,  # that of the source in force
    )
    plain = Trainer(setup, loaded)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    done = given.out.read_text().splitlines() if given.out.exists() else []
    keys = {
        json.dumps([json.loads(line)[k] for k in ("setup", "eta", "l2", "auto", "seed", "steps")])
        for line in done
    }
    record = setup.model_dump(mode="json", exclude_defaults=True)
    smallest = min((l2 for l2 in given.l2 if l2), default=0.0)
    runs = [(eta, l2, False) for eta in given.eta for l2 in sorted(given.l2, reverse=True)]
    runs += [(eta, l2, True) for eta in given.eta for l2 in given.auto]
    for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
        for eta, l2, auto in runs:
            effective = eta / (1 - setup.momentum)
            steps = given.steps or round(given.tau / (effective * (l2 or smallest)))
            times = evaluation_steps(steps, given.evaluations, 0.005)
            key = json.dumps([record, eta, l2, auto, seed, [int(t) for t in times]])
            if key in keys:
                continue
            spec = RunSpec(
                "pilot", eta, None if auto else l2, seed, setup.sigma_w, 1.0, steps,
                "minibatch" if auto else None, l2 if auto else None,
            )  # fmt: skip
            trainer = plain.with_rule(AutoL2(), "minibatch") if auto else plain
            hyper, began = hyper_of(setup, [spec]), time.perf_counter()
            run, found = trainer.init(hyper), []
            for before, after in zip([0, *times], times, strict=False):
                run = trainer.advance(run, hyper, int(before), int(after))
                found.append(
                    {k: float(v) for k, v in trainer.evaluate(run, hyper).items() if "correct" not in k}
                )
                if not np.isfinite(found[-1]["train_loss"]):
                    break
            line = {
                "name": f"{given.setup} {' '.join(given.set)}",
                "setup": record, "eta": eta, "l2": l2, "auto": auto, "seed": seed,
                "steps": [int(t) for t in times[: len(found)]],
                **{k: [round(one[k], 5) for one in found] for k in ("test_accuracy", "train_accuracy", "train_loss")},
                "coefficients": [one["l2"] for one in found],
                "seconds": round(time.perf_counter() - began, 1),
            }  # fmt: skip
            with given.out.open("a") as out:
                out.write(json.dumps(line) + "\n")
            print(
                given.setup,
                eta,
                l2,
                auto,
                seed,
                f"best {max(line['test_accuracy']):.4f}, {line['seconds']} s",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    main()
