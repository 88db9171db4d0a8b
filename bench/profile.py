"""Where the time of a training step goes, by XLA's own trace of one core: ``python -m bench profile [SHAPE …]``.

A shape is ``wrn:1:16:128`` or ``cnn:64:16:128``: kind, width, image size, batch; ``wrn:4:16:64:16`` has a depth too.
What XLA fuses is counted where the last operation of the fusion belongs.
"""

import gzip
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.measure import cores, machine
from bench.shapes import Shape, forward_flops

SHAPES = ("wrn:1:14:16", "wrn:1:16:32", "wrn:1:16:128", "cnn:16:14:16", "cnn:64:16:128")

PARTS = (
    "forward",
    "dx",
    "dW",
    "windows",
    "batch norm, bias",
    "dense",
    "ReLU, pooling, sums",
    "batch, update",
)
"""Products of convolutions, three kinds; what arranges their inputs and adds their outputs; the rest of the net; what
is outside the derivative."""

STEPS = 10


def part(name: str, size: int, kernels: frozenset[int]) -> str:
    """The part of a step that an operation belongs to.

    Sums over positions are products with ones (:func:`l2dynamics.models.layout.total`), and XLA leaves those nameless.

    Args:
        name: the ``op_name`` that XLA keeps, which has the path of the modules.
        size: number of elements of the result.
        kernels: numbers of elements of the parameters: the gradient by one is as large as it is.
    """
    if not name or "BatchNorm" in name or "Bias" in name:
        return "batch norm, bias"
    if "jvp(" not in name:
        return "batch, update"
    if "Conv_" in name:
        if "io,ip->op" not in name:
            return "windows"
        if "transpose(jvp" not in name:
            return "forward"
        return "dW" if size in kernels else "dx"
    return "dense" if "Dense" in name else "ReLU, pooling, sums"


def operations(program: str) -> dict[str, tuple[str, int]]:
    """``op_name`` and number of elements of the result, by instruction, of a compiled program's text."""
    line = re.compile(r'%?([\w.\-]+) = \(?\w+\[([\d,]*)\][^\n]*?metadata=\{[^}]*op_name="([^"]*)"')
    found = {}
    for instruction, shape, name in line.findall(program):
        size = 1
        for length in filter(None, shape.split(",")):
            size *= int(length)
        found[instruction] = name, size
    return found


def own_times(events: list[dict[str, Any]]) -> Counter[str]:
    """Microseconds by instruction, without those of the instructions that it calls."""
    threads: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and "hlo_op" in (event.get("args") or {}):
            threads[event["tid"]].append(event)
    own: Counter[str] = Counter()
    for calls in threads.values():
        open_calls: list[dict[str, Any]] = []
        for event in sorted(calls, key=lambda event: (event["ts"], -event["dur"])):
            while open_calls and open_calls[-1]["ts"] + open_calls[-1]["dur"] <= event["ts"] + 1e-6:
                open_calls.pop()
            own[event["name"]] += event["dur"]
            if open_calls:
                own[open_calls[-1]["name"]] -= event["dur"]
            open_calls.append(event)
    return own


def profile(shape: Shape) -> tuple[float, Mapping[str, float]]:
    """Milliseconds of a step without tracing, and those of its parts with it."""
    import jax
    import jax.numpy as jnp

    from l2dynamics.experiments.runs import RunSpec
    from l2dynamics.training.trainer import Trainer
    from l2dynamics.training.update import Batch, hyper_of

    setup, data = shape.case()
    trainer = Trainer(setup, data)
    hyper = hyper_of(setup, [RunSpec("profile", 0.1, 1e-3, 0, setup.sigma_w, 1.0, 1000)])
    state = trainer.init(hyper).state
    kernels = frozenset(leaf.size for leaf in jax.tree.leaves(state.params))
    images, labels = (jnp.asarray(of[: setup.batch]) for of in (data.train_images, data.train_labels))
    batch = Batch(jnp.int32(0), images, labels)
    known = operations(trainer.step.lower(state, hyper, batch).compile().as_text() or "")

    def steps() -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(STEPS):
            state = trainer.step(state, hyper, batch)
        jax.block_until_ready(state)
        return (time.perf_counter() - began) / STEPS * 1e3

    steps()
    alone = min(steps() for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            steps()
        (file,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    found = dict.fromkeys(PARTS, 0.0)
    for instruction, microseconds in own_times(events).items():
        name, size = known.get(instruction, ("", 0))
        found[part(name, size, kernels)] += microseconds / STEPS / 1e3
    return alone, found


def main(names: list[str]) -> int:
    """Print a line per shape: milliseconds, GFLOP/s and the share of each part of the traced time."""
    from l2dynamics.running import memory
    from l2dynamics.training import numerics

    try:
        shapes = [Shape.parse("shape " + name.replace(":", " ")) for name in names or SHAPES]
        for shape in shapes:
            shape.setup()
    except (KeyError, TypeError, ValueError):
        print("error: a shape is kind:width:size:batch[:depth], as in wrn:1:16:128", file=sys.stderr)
        return 2
    about = machine()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {cores()[-1]})
    numerics.configure()
    memory.keep_freed()
    print(f"{about}; one core\n\n| shape | ms a step | GFLOP/s | {' | '.join(PARTS)} |")
    print("|---" * (3 + len(PARTS)) + "|")
    for shape in shapes:
        alone, parts = profile(shape)
        rate, total = 3 * forward_flops(shape) * shape.batch / alone / 1e6, sum(parts.values())
        shares = " | ".join(f"{parts[name] / total:.0%}" for name in PARTS)
        print(f"| {shape.words} | {alone:.2f} | {rate:.0f} | {shares} |", flush=True)
    return 0
