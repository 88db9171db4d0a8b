"""Training steps of many shapes on one core, against PyTorch and against matrix products: where the next cliff is."""

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.measure import PRODUCTS, Row, compete, cores, ratio
from l2dynamics.experiments.setup import Setup

CLASSES = 10

FREED = "ours, memory freed"
"""The package in a process that gives freed memory back, see :mod:`l2dynamics.running.memory`."""


@dataclass(frozen=True)
class Shape:
    """A network (``cnn`` or ``wrn``), its width (channels, or widening factor), its depth, image size and batch."""

    kind: str
    width: int
    size: int
    batch: int
    depth: int = 10

    def __str__(self) -> str:
        return f"shape {self.kind} {self.width} {self.size} {self.batch} {self.depth}"

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """The inverse of ``str``."""
        _, kind, *numbers = text.split()
        return cls(kind, *map(int, numbers))

    @property
    def words(self) -> str:
        """For the table."""
        name = f"WRN-{self.depth}-{self.width}" if self.kind == "wrn" else f"CNN, {self.width} channels"
        return f"{name}, {self.size} × {self.size}, batch {self.batch}"

    def setup(self) -> Setup:
        """With momentum, which costs what a step of the adaptive sweeps does."""
        models: dict[str, dict[str, Any]] = {
            "wrn": {"depth": self.depth, "widen": self.width},
            "cnn": {
                "channels": self.width,
                "dense": 64,
                "batch_norm": True,
                "pool_window": 2,
                "pool_stride": 2,
            },
        }
        return Setup.model_validate(
            {
                "data": {"name": "cifar10", "train": 4 * self.batch},
                "model": {"kind": self.kind, **models[self.kind]},
                "batch": self.batch,
                "sigma_w": 1.0,
                "momentum": 0.9,
                "eval_batch": self.batch,
            }
        )

    def case(self) -> tuple[Setup, Any]:
        """The setup, and images of noise."""
        from l2dynamics.data.datasets import Dataset

        draw, count = np.random.default_rng(0), 4 * self.batch
        images = draw.integers(0, 255, (count, self.size, self.size, 3), dtype=np.uint8)
        labels = draw.integers(0, CLASSES, count).astype(np.int32)
        test = (images[: self.batch], labels[: self.batch])
        middle, spread = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
        return self.setup(), Dataset(
            "cifar10", "noise", "0", CLASSES, images, labels, *test, middle, spread, str(self)
        )


GRID = (
    # Those of scales laptop and workstation.
    *(Shape("wrn", 1, size, 16) for size in (7, 14)),
    *(Shape("cnn", width, 14, 16) for width in (8, 16)),
    # Those to come.
    *(Shape("wrn", 1, 16, batch) for batch in (32, 128, 512, 1024)),
    *(Shape("wrn", 1, size, 128) for size in (8, 32)),
    *(Shape("wrn", 2, size, 64) for size in (16, 28)),
    Shape("wrn", 4, 16, 64, depth=16),
    *(Shape("cnn", width, 16, 128) for width in (16, 32, 64, 128, 256)),
)


def steps(shape: Shape, flop: float) -> int:
    """Steps that take about half a second at 30 GFLOP/s, two at least."""
    return max(2, round(0.5 * 30e9 / (flop * shape.batch)))


def rows() -> list[Row]:
    """One row for every shape; one pinned core, each competitor in a process of its own."""
    where, found = [[cores()[-1]]], []
    for shape in GRID:
        flop = 3 * forward_flops(shape)
        count = steps(shape, flop)
        contestants = [(by, by, where) for by in ("ours", FREED, "torch", "gemm, jax", "gemm, torch")]
        seconds = compete(contestants, str(shape), f"train {count}", repeats=3)
        own = seconds["ours"]
        mine, other = (statistics.median(seconds[by]) for by in ("ours", "torch"))
        fastest = min(statistics.median(seconds[by]) for by in ("gemm, jax", "gemm, torch"))
        peak, rate = PRODUCTS * 2 * 1024**3 / fastest / 1e9, flop * shape.batch * count / mine / 1e9
        found.append(
            Row(
                shape.words,
                f"{count * shape.batch / mine:,.0f} images/s",
                f"{count * shape.batch / other:,.0f} images/s",
                f"{ratio(seconds['torch'], own):.2f}; {ratio(seconds[FREED], own):.2f} to freed",
                f"GEMM {peak:.0f} GFLOP/s",
                f"{rate:.0f} GFLOP/s, {rate / peak:.0%}",
            )
        )
        print(f"  {found[-1]}", flush=True)
    return found


def forward_flops(shape: Shape) -> float:
    """FLOPs of the forward pass of one image."""
    import jax
    import jax.numpy as jnp

    from l2dynamics.models import networks

    module = networks.build(**shape.setup().model.model_dump(), classes=CLASSES)
    x = jax.ShapeDtypeStruct((2, shape.size, shape.size, 3), jnp.float32)
    params = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), x)
    lowered = jax.jit(lambda p, x: module.apply(p, x, train=True)).lower(params, x)
    analysis: Any = lowered.cost_analysis()
    return float(analysis["flops"]) / 2
