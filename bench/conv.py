"""Runs per hour of the laptop sweeps on all cores, against PyTorch: one average run with its evaluations."""

import statistics

from bench.measure import PRODUCTS, Row, compete, ratio, ways
from l2dynamics import paths
from l2dynamics.experiments import runs, scales, schema
from l2dynamics.pipeline import cost

SWEEPS = ("cnn", "cnn_bn", "wrn", "wrn_aug")
COMPETITORS: tuple[str, ...] = ("torch", "torch.compile")


def average_run(name: str) -> tuple[int, int]:
    """Steps, and evaluations per decade of them, of the average run of a laptop sweep, predicted runs left out."""
    section = scales.load_section(paths.find_root(), "laptop", name, schema.Sweep)
    section = section.model_copy(update={"predicted": None})
    per_epoch = -(-(section.setup.data.train or 1) // section.setup.batch)
    specs = runs.of_sweep(name, section, per_epoch, 0)
    return round(statistics.mean(spec.steps for spec in specs)), section.evaluations_per_decade


def measure(name: str) -> list[Row]:
    """Rows of one sweep: whole runs, and training steps alone with their share of the GEMM peak."""
    setup = scales.load_section(paths.find_root(), "laptop", name, schema.Sweep).setup
    steps, evaluations = average_run(name)
    contestants = [
        (f"{by}, {way}", by, where) for by in ("ours", *COMPETITORS) for way, where in ways().items()
    ]
    whole = compete(contestants, name, f"run {steps} {evaluations}")
    products = [
        (f"gemm, {by}, {way}", f"gemm, {by}", where)
        for by in ("jax", "torch")
        for way, where in ways().items()
    ]
    pure = compete([*contestants, *products], name, "train 60")
    flop = 3 * cost.forward_flops(setup) * setup.batch * 60
    fastest = min(statistics.median(pure.pop(label)) for label, _, _ in products)
    peak = PRODUCTS * 2 * 1024**3 / fastest / 1e9
    rows = []
    for what, found in (
        (f"runs of {steps} steps and {evaluations} evaluations a decade", whole),
        ("training", pure),
    ):
        medians = {label: statistics.median(seconds) for label, seconds in found.items()}
        mine = min((label for label in medians if label.startswith("ours")), key=medians.__getitem__)
        best = min((label for label in medians if label.startswith("torch")), key=medians.__getitem__)
        alone = next(label for label in medians if label.startswith("torch, 1 "))
        for label, seconds in medians.items():
            print(f"  {name}, {what}: {label}: {seconds:.3f} s")
        speed = {
            label: f"{3600 / medians[label]:,.0f} runs/h"
            if found is whole
            else f"{60 * setup.batch / medians[label]:,.0f} images/s"
            for label in (mine, best)
        }
        rate = flop / medians[mine] / 1e9
        rows.append(
            Row(
                f"{name}: {what}",
                f"{speed[mine]} ({mine.partition(', ')[2]})",
                f"{speed[best]} ({best})",
                f"{ratio(found[best], found[mine]):.2f}; {ratio(found[alone], found[mine]):.2f} to one process",
                "" if found is whole else f"GEMM {peak:.0f} GFLOP/s",
                "" if found is whole else f"{rate:.0f} GFLOP/s, {rate / peak:.0%}",
            )
        )
    return rows


def rows() -> list[Row]:
    """All convolutional sweeps."""
    return [row for name in SWEEPS for row in measure(name)]
