"""Side by side: competitors take turns, every figure is a median, every ratio one of neighbours in time."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

REPEATS = 5

PRODUCTS = 50
"""Products of matrices in a turn of those that measure the limit."""


@dataclass(frozen=True)
class Row:
    """One line of the table; empty strings where nothing applies."""

    work: str
    ours: str
    other: str = ""
    ratio: str = ""
    limit: str = ""
    share: str = ""


@dataclass
class Workers:
    """Processes that do the same work at the same time on disjoint cores."""

    by: str
    name: str
    cores: Sequence[Sequence[int]]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __enter__(self) -> "Workers":
        for cores in self.cores:
            asked = json.dumps({"by": self.by, "name": self.name, "cores": list(cores)})
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", asked],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(len(cores)), "MKL_NUM_THREADS": str(len(cores))},
            )
            self.processes.append(process)
        for process in self.processes:
            self._answer(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with exit code {process.wait()}")
        return line.strip()

    def do(self, command: str) -> float:
        """Let all processes do it at once; the seconds of the slowest, divided by their number."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{command}\n")
            process.stdin.flush()
        return max(float(self._answer(process)) for process in self.processes) / len(self.processes)


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def ways() -> dict[str, list[list[int]]]:
    """One process on all cores, and one single-threaded process pinned to each."""
    available = cores()
    return {f"1 × {len(available)}": [available], f"{len(available)} × 1": [[core] for core in available]}


def take_turns(tasks: dict[str, Callable[[], float]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Call every task once per round; the first round is a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for index in range(repeats + 1):
        for name, task in tasks.items():
            seconds = task()
            if index:
                found[name].append(seconds)
    return found


def compete(
    contestants: Sequence[tuple[str, str, Sequence[Sequence[int]]]],
    name: str,
    command: str,
    repeats: int = REPEATS,
) -> dict[str, list[float]]:
    """Seconds per unit of work of contestants ``(label, by, cores)`` that take turns."""
    with ExitStack() as stack:
        tasks: dict[str, Callable[[], float]] = {}
        for label, by, where in contestants:
            workers = stack.enter_context(Workers(by, name, where))
            share = f"train {PRODUCTS}" if by.startswith("gemm") else command
            tasks[label] = lambda w=workers, c=share: w.do(c)  # type: ignore[misc]
        return take_turns(tasks, repeats)


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Median of the ratios of neighbours in time."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| work | ours | PyTorch | ratio | limit | share of limit |", "|---|---|---|---|---|---|"]
    lines += [f"| {r.work} | {r.ours} | {r.other} | {r.ratio} | {r.limit} | {r.share} |" for r in rows]
    return "\n".join(lines)


def machine() -> str:
    """Processor, cores, load and versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    versions = []
    for package in ("jax", "jaxlib", "flax", "numpy", "torch"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{model}, {len(cores())} cores, load {load} at the start; Python {platform.python_version()}, "
        f"{', '.join(versions)}"
    )
