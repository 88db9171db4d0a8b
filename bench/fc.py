"""The fully connected sweeps of the laptop scale, against PyTorch."""

from bench.conv import measure
from bench.measure import Row


def rows() -> list[Row]:
    """Runs per hour, and training steps alone against the GEMM peak."""
    return [row for name in ("fc", "fc_small") for row in measure(name)]
