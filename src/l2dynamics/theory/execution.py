"""Stage ``theory``: its tasks side by side, one core each, each kept when done: it can be interrupted anywhere."""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from l2dynamics import paths
from l2dynamics.experiments.scales import Executor, Params
from l2dynamics.results import machine
from l2dynamics.results.source_code import code_key
from l2dynamics.running import affinity, processes, stopwatch
from l2dynamics.running.interruption import Failed
from l2dynamics.storage import archives
from l2dynamics.theory import experiments, outputs, tasks
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.tasks import REFERENCE, Work

log = logging.getLogger(__name__)


def run(config: TheoryConfig, params: Params, root: Path) -> None:
    """Compute everything that is not there yet and write table and passport.

    Args:
        config: section ``theory``.
        params: scale, first seed, source of the data and executor.
        root: the checkout.

    Raises:
        ValueError: the data or the configuration cannot be used.
        stage.Failed: a task raised; what had finished is kept.
        OSError: a file cannot be written.
    """
    seed, source = params.seed, params.data["source"]
    task = experiments.problem(config, source, root)
    experiments.require_stable(config.training.eta, float(np.linalg.eigvalsh(task.kernel)[-1]))
    key = _key(config, seed, task.source.digest)
    work = Work(config, seed, source, root, paths.work(root) / "theory" / key[:16])
    with stopwatch.measured(work.folder / "wall.npz") as wall:
        _compute(work, params.executor)
    parts = {}
    for name in tasks.names(config, seed):
        found = archives.load(work.file(name))
        assert found is not None
        parts[name] = found[1]
    numbers: dict[str, Any] = {}
    for name, part in parts.items():
        group, _, member = name.partition("@")
        if member:
            numbers.setdefault(group, []).append(part["numbers"])
        else:
            numbers[group] = part["numbers"]
    seeds = range(seed, seed + max(config.training.seeds, config.decay.seeds, config.convergence.seeds))
    passport = {
        "name": "theory",
        "scale": params.scale,
        "data": {
            "name": task.source.name,
            "source": source,
            "version": task.source.version,
            "train": len(task.y),
            "test": len(task.y_test),
            "image_size": int(task.source.train_images.shape[1]),
            "digest": task.source.digest,
        },
        "setup": {
            "model": "ReLU networks without biases in NTK parametrisation",
            "loss": "sum of ½ (f − y)²",
        },
        "config": config.model_dump(mode="json"),
        "seeds": list(seeds),
        "runs": sum(len(numbers[group]) for group in ("training", "test_loss", "decay")),
        "diverged": 0,
        "steps_per_epoch": 1,
        "classes": 2,
        "status": "done",
        "key": key,
        "pure_step_seconds": sum(one["seconds"] for one in [*numbers["training"], *numbers["test_loss"]]),
        "worker_seconds": sum(part["seconds"] for part in parts.values()),
        "wall_seconds": wall.seconds,
        **machine.describe(root, "scipy"),
        "device": _device(),
        "numbers": numbers,
    }
    outputs.write([row for part in parts.values() for row in part["rows"]], passport, root)
    for line in summary(passport):
        print(line)
        log.debug(line)


def summary(passport: Mapping[str, Any]) -> list[str]:
    """Return the three lines of the stage at its end: what was done, the main number, where to look."""
    numbers = passport["numbers"]
    fit = numbers["minimum"]["exponent"]
    return [
        f"theory: {passport['runs']} networks trained, {passport['wall_seconds']:.0f} s",
        f"time of the loss minimum ∝ λ^{fit['slope']:.3f} [{fit['low']:.3f}, {fit['high']:.3f}]; the paper: −1",
        "look: results/theory.csv and .json; `dvc repro fig@5`; reports/README.md has a section on it",
    ]


def _device() -> str:
    device = jax.devices()[0]
    return f"{device.platform}: {device.device_kind}"


def _key(config: TheoryConfig, seed: int, digest: str) -> str:
    content = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "data": digest,
        "code": code_key("l2dynamics.theory.experiments", "l2dynamics.theory.lemma1"),
        "versions": machine.versions("scipy"),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _compute(work: Work, executor: Executor) -> None:
    """Compute the tasks that have left no file."""
    everything = tasks.names(work.config, work.seed)
    missing = [name for name in everything if archives.load(work.file(name)) is None]
    if not missing:
        return
    work.folder.mkdir(parents=True, exist_ok=True)
    order = tasks.longest_first(missing, work.config, work.seed)
    with _Progress(len(everything), len(missing)) as progress:
        if size := processes.workers(executor, len(missing)):
            _side_by_side(order, work, size, progress)
            return
        # One core, as a worker has: the sums are in the same order.
        with nullcontext() if affinity.accelerated() else affinity.pinned(1):
            for name in [REFERENCE, *order]:
                _execute(name, work, progress)


def _execute(name: str, work: Work, progress: "_Progress") -> None:
    began = time.monotonic()
    tasks.execute(name, work, lambda share: progress.tell(name, share))
    progress.finish(name, time.monotonic() - began)


def _in_worker(name: str, work: Work) -> float:
    began = time.monotonic()
    tasks.execute(name, work, lambda share: processes.send((name, share)))
    return time.monotonic() - began


def _side_by_side(order: Sequence[str], work: Work, size: int, progress: "_Progress") -> None:
    pool = processes.start(size)
    try:
        # The reference first and alone: others read its file.
        first, *rest = order
        futures = {pool.submit(_in_worker, name, work): name for name in (REFERENCE, first)}
        while futures:
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            for told in pool.heard():
                progress.tell(*told)
            for future in done:
                name = futures.pop(future)
                progress.finish(name, future.result())
                if name == REFERENCE:
                    futures |= {pool.submit(_in_worker, other, work): other for other in rest}
    except BrokenProcessPool:
        raise Failed("a worker process was killed, or the memory is full; the same command goes on") from None
    finally:
        pool.executor.shutdown(cancel_futures=True)


class _Progress:
    """Shows finished tasks and the current ones: a bar on a terminal, a line per task that took long elsewhere."""

    def __init__(self, total: int, missing: int) -> None:
        self._console = Console(file=sys.stderr)
        columns = (
            TextColumn("theory"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._entry = self._bar.add_task("theory", total=total, completed=total - missing, now="")

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, name: str, share: float) -> None:
        """Take the progress of a task into account."""
        self._bar.update(self._entry, now=f"{name} {share:.0%}")

    def finish(self, name: str, seconds: float) -> None:
        """Take the end of a task into account."""
        log.info("theory: %s in %.1f s", name, seconds)
        if name != REFERENCE:
            self._bar.advance(self._entry)
        if seconds > 1 and not self._console.is_terminal:
            self._console.print(f"theory: {name} in {seconds:.0f} s", highlight=False)
