"""What a scale costs before anyone starts it (``l2dynamics plan``)."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from l2dynamics import paths
from l2dynamics.data.specs import SPECS
from l2dynamics.experiments import registry, runs, scales, schema
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.setup import Data, Setup
from l2dynamics.models import networks

PAPER_C = 0.0066
"""Stands for the measured c, in epochs, in the plan of predicted runs; the number of steps does not depend on it."""

# Sustained training FLOP/s of one device: peak × the utilisation that well-tuned image training reaches on it.
DEVICES = {
    "cpu": ("two CPU cores, 206 GFLOP/s measured GEMM peak, 25 % in small convolutions", 50e9),
    "p100": ("P100, 9.3 TFLOP/s float32, 40 %", 3.7e12),
    "v3-8": ("TPU v3-8, 420 TFLOP/s bfloat16, 30 %", 126e12),
    "a100": ("A100, 312 TFLOP/s bfloat16, 45 %", 141e12),
    "h100": ("H100, 989 TFLOP/s bfloat16, 40 %", 394e12),
}


_LONG = 30 * 24
"""Hours on one device beyond which a plan says that the scale is not meant for it."""


@dataclass(frozen=True)
class Cost:
    """Cost of one stage; FLOPs of training without evaluation: three times the forward pass."""

    stage: str
    runs: int
    steps: int
    longest: int
    flops: float
    hours: float


def image(data: Data) -> tuple[int, int, int]:
    """Height, width and channels of the images of a section."""
    height, width, channels = SPECS[data.name].shape
    return data.image_size or height, data.image_size or width, channels


def forward_flops(setup: Setup) -> float:
    """FLOPs of the forward pass of one example, counted by XLA on the program before it is optimised."""
    classes = SPECS[setup.data.name].classes
    module = networks.build(**setup.model.model_dump(), classes=classes)
    x = jax.ShapeDtypeStruct((2, *image(setup.data)), jnp.float32)
    params = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), x)
    analysis: Any = jax.jit(lambda p, x: module.apply(p, x, train=True)).lower(params, x).cost_analysis()
    return float(analysis["flops"]) / 2


Section = schema.MeasureC | schema.Sweep | schema.AutoL2Sweep


def stages(root: Path, scale: str) -> Iterable[tuple[str, Section, list[RunSpec]]]:
    """Every training stage of a scale with its section and runs; data sizes are those of the full sets."""
    for name, measure in scales.load_section(root, scale, "measure_c", schema.MeasureCs):
        yield f"measure_c ({name})", measure, runs.of_measure_c(name, measure, _epoch(measure), 0)
    for one in registry.EXPERIMENTS:
        if one.kind == "sweep":
            sweep = scales.load_section(root, scale, one.section, schema.Sweep)
            yield one.stage, sweep, runs.of_sweep(one.key, sweep, _epoch(sweep), 0, PAPER_C)
        if one.kind == "autol2":
            auto = scales.load_section(root, scale, one.section, schema.AutoL2Sweep)
            yield one.stage, auto, runs.of_autol2(one.key, auto, _epoch(auto), 0)


def _epoch(section: Section) -> int:
    return section.setup.steps_per_epoch()


def plan(root: Path, scale: str, device: str) -> list[Cost]:
    """Runs, steps, FLOPs and estimated hours on one device for every training stage of a scale.

    Raises:
        ConfigError: unknown device, or a section that cannot be used.
    """
    if device not in DEVICES:
        raise ConfigError(f"device: {device!r} is unknown, choose one of {', '.join(DEVICES)}")
    costs = []
    for stage, section, specs in stages(root, scale):
        setup, steps = section.setup, sum(spec.steps for spec in specs)
        flops = 3 * forward_flops(setup) * setup.batch * steps
        hours = flops / DEVICES[device][1] / 3600
        costs.append(Cost(stage, len(specs), steps, max(spec.steps for spec in specs), flops, hours))
    return costs


def plan_command(*, scale: str, device: str | None, as_json: bool) -> None:
    """Print the plan of a scale as a table or as JSON."""
    chosen = device or ("cpu" if jax.default_backend() == "cpu" else "h100")
    costs = plan(paths.find_root(), scale, chosen)
    total = Cost(
        "total",
        sum(cost.runs for cost in costs),
        sum(cost.steps for cost in costs),
        max(cost.longest for cost in costs),
        sum(cost.flops for cost in costs),
        sum(cost.hours for cost in costs),
    )
    if as_json:
        content = {"scale": scale, "device": chosen, "stages": [asdict(cost) for cost in [*costs, total]]}
        print(json.dumps(content, indent=2))
        return
    table = Table(title=f"Scale {scale} on one device: {DEVICES[chosen][0]}")
    for column in ("stage", "runs", "steps", "longest run", "FLOPs", "time"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for cost in [*costs, total]:
        table.add_row(
            cost.stage,
            f"{cost.runs:,}",
            f"{cost.steps:,}",
            f"{cost.longest:,}",
            f"{cost.flops:.2e}",
            duration(cost.hours),
            style="bold" if cost is total else "",
        )
    Console().print(table)
    if total.hours > _LONG:
        print(
            f"{scale} would take {duration(total.hours)} on this device: it is meant for many accelerators "
            "(docs/cluster.md); scales that fit one machine are smoke, laptop and workstation",
            file=sys.stderr,
        )


def duration(hours: float) -> str:
    """Return a time for reading, in the largest unit that it is one and a half of at least."""
    for unit, length in (("years", 24 * 365.25), ("days", 24.0), ("hours", 1.0)):
        if hours >= 1.5 * length:
            return f"{hours / length:,.1f} {unit}"
    return f"{60 * hours:,.1f} minutes"
