"""Stage ``theory`` as a list of tasks whose results are kept one by one, so that it can be interrupted anywhere."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from l2dynamics import checkpoints, history, interruption, lemma1, paths, theory_results
from l2dynamics import theory_experiments as experiments
from l2dynamics.closure import code_key
from l2dynamics.theory_config import TheoryConfig

Part = dict[str, Any]
Tell = Callable[[float], None]


def run(config: TheoryConfig, scale: str, seed: int, source: str, root: Path) -> dict[str, Any]:
    """Compute everything that is not there yet and write table and passport.

    Args:
        config: section ``theory``.
        scale: name of the scale, for the passport.
        seed: first seed.
        source: ``sample`` or ``tfds``.
        root: the checkout.

    Returns:
        The numbers of the passport.

    Raises:
        ValueError: the data or the configuration cannot be used.
        OSError: a file cannot be written.
    """
    began = time.perf_counter()
    experiments.CHECKPOINT_SECONDS = interruption.checkpoint_seconds(experiments.CHECKPOINT_SECONDS)
    task = experiments.problem(config, source, root)
    experiments.require_stable(config.training.eta, float(np.linalg.eigvalsh(task.kernel)[-1]))
    key = _key(config, seed, task.source.digest)
    folder = paths.work(root) / "theory" / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    parts = _compute(config, task, seed, folder)
    numbers: dict[str, Any] = {}
    for name, part in parts.items():
        group, _, member = name.partition("@")
        if member:
            numbers.setdefault(group, []).append(part["numbers"])
        else:
            numbers[group] = part["numbers"]
    seeds = range(seed, seed + max(config.training.seeds, config.decay.seeds, config.convergence.seeds))
    spent = sum(part["seconds"] for part in parts.values())
    passport = {
        "name": "theory",
        "scale": scale,
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
        "wall_seconds": max(spent, time.perf_counter() - began),
        **theory_results.machine(root),
        "numbers": numbers,
    }
    theory_results.write([row for part in parts.values() for row in part["rows"]], passport, root)
    return numbers


def _key(config: TheoryConfig, seed: int, digest: str) -> str:
    content = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "data": digest,
        "code": code_key("l2dynamics.theory_experiments", "l2dynamics.lemma1"),
        "versions": theory_results.versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _compute(config: TheoryConfig, task: experiments.Problem, seed: int, folder: Path) -> dict[str, Part]:
    reference, seconds = _reference(config, task, seed, folder)
    work: dict[str, Callable[[Tell], Part]] = {
        "modes": lambda tell: experiments.modes(config),
        "kernels": lambda tell: experiments.kernels(config, task, reference, seconds, seed),
        "minimum": lambda tell: experiments.minimum(config, task, reference),
        "fixed_points": lambda tell: experiments.fixed_points(config, seed),
        "lemma1": lambda tell: {
            "rows": [],
            "numbers": lemma1.table(seed, convolutional=config.convolutional),
        },
    }
    part, probe = config.training, config.test_minimum
    descents = {"training@drawn": experiments.Descent(part.width, seed, part.l2, part.horizon)}
    for width in part.widths:
        for own_seed in range(seed, seed + part.seeds):
            descents[f"training@{width}-{own_seed}"] = experiments.Descent(width, own_seed, part.l2)
    for l2 in probe.l2:
        descents[f"test_loss@{l2:g}"] = experiments.Descent(probe.width, seed, l2, probe.horizon)
    for name, descent in descents.items():

        def train(tell: Tell, name: str = name, descent: experiments.Descent = descent) -> Part:
            file = folder / f"{name}.checkpoint"
            drawn = reference if name == "training@drawn" else None
            found = experiments.training(config, task, descent, file, tell, drawn=drawn)
            checkpoints.remove(file)
            return found

        work[name] = train
    for depth in config.decay.depths:
        for width in config.decay.widths:
            for own_seed in range(seed, seed + config.decay.seeds):

                def shrink(
                    tell: Tell, depth: int = depth, width: int = width, own_seed: int = own_seed
                ) -> Part:
                    return experiments.decay(config, task, depth, width, own_seed, tell)

                work[f"decay@{depth}-{width}-{own_seed}"] = shrink
    parts: dict[str, Part] = {}
    with _progress(len(work)) as (start, tell, finish):
        for name, compute in work.items():
            file = folder / f"{name}.npz"
            start(name)
            if (saved := checkpoints.load(file)) is not None:
                parts[name] = saved[1]
            else:
                began = time.perf_counter()
                fresh = compute(tell)
                parts[name] = history.plain({**fresh, "seconds": time.perf_counter() - began})
                checkpoints.save(file, {}, parts[name])
            finish()
    return parts


def _reference(
    config: TheoryConfig, task: experiments.Problem, seed: int, folder: Path
) -> tuple[experiments.Array, float]:
    file = folder / "reference.npz"
    if (saved := checkpoints.load(file)) is not None:
        return saved[0]["kernel"], float(saved[1]["seconds"])
    kernel, seconds = experiments.reference_kernel(config, task, seed)
    checkpoints.save(file, {"kernel": np.asarray(kernel)}, {"seconds": seconds})
    return kernel, seconds


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Tell, Callable[[], None]]]:
    """Show finished tasks and the current one: a bar on a terminal, a line per task that took long elsewhere."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("theory"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    entry = bar.add_task("theory", total=total, now="")
    current, since = "", time.monotonic()

    def start(name: str) -> None:
        nonlocal current, since
        current, since = name, time.monotonic()
        bar.update(entry, now=name)

    def tell(fraction: float) -> None:
        bar.update(entry, now=f"{current} {fraction:.0%}")

    def finish() -> None:
        bar.advance(entry)
        seconds = time.monotonic() - since
        if seconds > 1 and not console.is_terminal:
            console.print(f"theory: {current} in {seconds:.0f} s", highlight=False)

    with bar:
        yield start, tell, finish
