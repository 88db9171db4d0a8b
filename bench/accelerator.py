"""One accelerator machine in under ten minutes: ``python -m bench.accelerator``.

Prints images/s and MFU of WRN-28-10, and the speed-up of a bucket of FC runs over one run after the other, next to
PyTorch where it is installed. Needs jax, flax, optax, numpy, pydantic and ruamel.yaml; images are random, so that no
data set is read. ``--tiny`` makes the same calls with small nets, to try the command on a CPU.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from l2dynamics.training import numerics

numerics.configure()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from l2dynamics.data.datasets import Dataset  # noqa: E402
from l2dynamics.experiments.runs import RunSpec  # noqa: E402
from l2dynamics.experiments.setup import Setup  # noqa: E402
from l2dynamics.training.trainer import Trainer  # noqa: E402
from l2dynamics.training.update import hyper_of  # noqa: E402

WRN_GFLOP = 31.3
"""Training WRN-28-10 on one 32 × 32 image: three times the forward pass, 2 FLOPs per multiplication and addition."""

PEAKS = {  # dense TFLOP/s of one device: bfloat16 and float32 (TF32 where jax takes it by default)
    "H200": (989, 494),
    "H100": (989, 494),
    "A100": (312, 156),
    "V100": (125, 15.7),
    "P100": (9.3, 9.3),
    "T4": (65, 8.1),
    "L4": (121, 60),
    "TPU v3": (123, 123),
    "TPU v4": (275, 275),
    "TPU v5": (197, 197),
    "TPU v6": (918, 918),
}
REPEATS = 5


def images(count: int, side: int, colours: int) -> Dataset:
    """Random images and labels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, side, side, colours), np.uint8)
    labels = rng.integers(0, 10, count).astype(np.int32)
    mean = np.full(colours, 0.5, np.float32)
    few = slice(0, 256)
    return Dataset(
        "cifar10",
        "sample",
        "0",
        10,
        pixels,
        labels,
        pixels[few],
        labels[few],
        mean,
        mean,
        f"{count} random",
    )


def seconds(work: Callable[[], Any]) -> float:
    """Median time of a call after one that compiles."""
    found = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def wrn_setup(precision: str, batch: int, tiny: bool) -> Setup:
    """WRN-28-10 with momentum, flip, crop and mixup; batch norm per 128 images as on the paper's devices."""
    size = {"depth": 10, "widen": 1} if tiny else {"depth": 28, "widen": 10}
    return Setup.model_validate(
        {
            "data": {"name": "cifar10"},
            "model": {"kind": "wrn", **size},
            "batch": batch,
            "bn_group": min(batch, 128),
            "momentum": 0.9,
            "augment": True,
            "sigma_w": 1.0,
            "eval_batch": 256,
            "eval_train": 256,
            "precision": precision,
        }
    )


def fc_setup(precision: str, tiny: bool) -> Setup:
    """The paper's FC net: 3 × 2048, the first 512 images of MNIST, full batch."""
    return Setup.model_validate(
        {
            "data": {"name": "mnist"},
            "model": {"kind": "fc", "depth": 3, "width": 32 if tiny else 2048},
            "batch": 512,
            "sigma_w": 2**0.5,
            "eval_batch": 256,
            "eval_train": 256,
            "precision": precision,
        }
    )


class Timed:
    """A trainer whose segments are timed; it knows whether they were one program."""

    def __init__(
        self, setup: Setup, dataset: Dataset, *, bucket: int | None = None, mesh: Any = None
    ) -> None:
        self.trainer = Trainer(setup, dataset, bucket=bucket, mesh=mesh)
        # With a mesh CPUs dispatch steps; here the loop is measured.
        self.trainer.dispatched = False
        specs = [RunSpec("bench", 0.05, 5e-4, seed, setup.sigma_w, 1.0, 1000) for seed in range(bucket or 1)]
        self.hyper = hyper_of(setup, specs)
        self.state, self.step = self.trainer.init(self.hyper), 0

    def train(self, steps: int) -> None:
        """Train so many steps in one segment, nothing coming back to the host."""
        with jax.transfer_guard_device_to_host("disallow"):
            self.state = self.trainer.advance(self.state, self.hyper, self.step, self.step + steps)
        jax.block_until_ready(self.state)
        self.step += steps

    @property
    def programs(self) -> int:
        """Compiled segments."""
        segment: Any = self.trainer.segment
        return int(segment._cache_size())


def peak(precision: str) -> float | None:
    """TFLOP/s of all devices together, None for an unknown kind."""
    kind = jax.devices()[0].device_kind
    known = [values for name, values in PEAKS.items() if name in kind]
    return known[0][precision == "float32"] * len(jax.devices()) if known else None


def wrn(precision: str, batch: int, steps: int, tiny: bool) -> dict[str, Any]:
    """Images per second of the Wide ResNet; data-parallel over all devices."""
    devices = len(jax.devices())
    mesh = None
    if devices > 1:
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    timed = Timed(wrn_setup(precision, batch, tiny), images(8 * batch, 32, 3), mesh=mesh)
    rate = steps * batch / seconds(lambda: timed.train(steps))
    found: dict[str, Any] = {"work": "WRN-28-10", "precision": precision, "batch": batch}
    found |= {"images_per_second": round(rate, 1), "programs": timed.programs}
    limit = peak(precision)
    if limit and not tiny:
        found["mfu"] = round(rate * WRN_GFLOP / 1e3 / limit, 3)
    return found


def fc(precision: str, buckets: tuple[int, ...], steps: int, tiny: bool) -> list[dict[str, Any]]:
    """Run-steps per second of one FC run and of buckets of them."""
    dataset, found, alone = images(512, 28, 1), [], 0.0
    for bucket in (1, *buckets):
        timed = Timed(fc_setup(precision, tiny), dataset, bucket=bucket if bucket > 1 else None)
        rate = steps * bucket / seconds(lambda: timed.train(steps))  # noqa: B023
        alone = alone or rate
        found.append(
            {"work": "FC", "precision": precision, "bucket": bucket, "run_steps_per_second": round(rate, 1)}
            | {"speed_up": round(rate / alone, 2), "programs": timed.programs}
        )
    return found


def pytorch(batch: int, steps: int, tiny: bool) -> list[dict[str, Any]]:
    """The same Wide ResNet and one FC run in PyTorch: autocast to bfloat16, channels_last, compiled, fused SGD."""
    import torch

    from bench.reference import Reference

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    found = []
    for work, setup, dataset in (
        # bn_group plays no part: PyTorch normalises over the whole batch of a device.
        ("WRN-28-10", wrn_setup("bfloat16", batch, tiny), images(8 * batch, 32, 3)),
        ("FC", fc_setup("bfloat16", tiny), images(512, 28, 1)),
    ):
        compiled = device != "cpu"
        net = Reference(
            setup, dataset, eta=0.05, l2=5e-4, compiled=compiled, device=device, autocast=compiled
        )
        rate = steps / seconds(lambda: net.train(0, steps))  # noqa: B023
        name, factor = ("images_per_second", batch) if work != "FC" else ("run_steps_per_second", 1)
        found.append({"work": f"{work}, PyTorch {torch.__version__}", name: round(rate * factor, 1)})
    return found


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small nets, to try the command")
    parser.add_argument("--batch", type=int, default=512, help="images per step of the Wide ResNet")
    parser.add_argument("--steps", type=int, default=30, help="steps per timed segment")
    parser.add_argument("--buckets", type=int, nargs="+", default=[8, 32, 64, 255], help="FC runs at a time")
    asked = parser.parse_args()
    if asked.tiny:
        asked.batch, asked.steps, asked.buckets = 16, 2, [4]
    devices = jax.devices()
    print(
        f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform}), jax {jax.__version__}",
        flush=True,
    )

    def show(found: dict[str, Any]) -> None:
        print(json.dumps(found), flush=True)

    for precision in ("bfloat16", "float32"):
        show(wrn(precision, asked.batch, asked.steps, asked.tiny))
        for row in fc(precision, tuple(asked.buckets), 10 * asked.steps, asked.tiny):
            show(row)
    try:
        for row in pytorch(asked.batch, asked.steps, asked.tiny):
            show(row)
    except ImportError:
        print("PyTorch is not installed: no comparison")


if __name__ == "__main__":
    main()
