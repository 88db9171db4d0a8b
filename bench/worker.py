"""One process that trains on request, so that competitors never share threads: ``python -m bench.worker JSON``.

It says ``ready`` when everything is compiled, then answers every line: ``train N`` trains N steps, ``run N E`` trains
N steps with E evaluations per decade of them; the answer is the seconds it took.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

HYPER = {"fc": (0.15, 1e-3), "cnn": (0.1, 1e-3), "wrn": (0.2, 1e-3)}
"""η and λ at which the nets learn: the values do not change the work, but NaN might."""


def section(name: str) -> tuple[Any, Any]:
    """Setup of a sweep at laptop scale and its data, or those of a shape of :mod:`bench.shapes`."""
    if name.startswith("shape "):
        from bench.shapes import Shape

        return Shape.parse(name).case()
    from l2dynamics import paths
    from l2dynamics.data import datasets
    from l2dynamics.experiments import scales, schema

    root = paths.find_root()
    setup = scales.load_section(root, "laptop", name, schema.Sweep).setup
    wanted = setup.data
    loaded = datasets.load(
        wanted.name,
        train=wanted.train,
        test=wanted.test,
        image_size=wanted.image_size,
        source="sample",
        root=root,
    )
    return setup, loaded


def ours(name: str, *, keep: bool = True) -> tuple[Callable[[int, int], None], Callable[[], Any]]:
    """Training and evaluation by the package, as a worker process does it: freed memory stays with the process."""
    from l2dynamics import paths
    from l2dynamics.running import memory
    from l2dynamics.training import numerics

    numerics.configure(cache=paths.work(paths.find_root()) / "xla")
    if keep:
        memory.keep_freed()
    import jax

    from l2dynamics.experiments.runs import RunSpec
    from l2dynamics.training.trainer import Trainer
    from l2dynamics.training.update import hyper_of

    setup, dataset = section(name)
    eta, l2 = HYPER[setup.model.kind]
    trainer = Trainer(setup, dataset)
    hyper = hyper_of(setup, [RunSpec("bench", eta, l2, 0, setup.sigma_w, 1.0, 1000)])
    held = [trainer.init(hyper)]

    def train(start: int, stop: int) -> None:
        held[0] = jax.block_until_ready(trainer.advance(held[0], hyper, start, stop))

    return train, lambda: trainer.evaluate(held[0], hyper)


def reference(
    name: str, threads: int, compiled: bool
) -> tuple[Callable[[int, int], None], Callable[[], Any]]:
    """Training and evaluation by PyTorch."""
    import torch

    from bench.reference import Reference

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    setup, dataset = section(name)
    eta, l2 = HYPER[setup.model.kind]
    found = Reference(setup, dataset, eta=eta, l2=l2, compiled=compiled)
    return found.train, found.evaluate


def gemm(by: str, threads: int) -> tuple[Callable[[int, int], None], Callable[[], Any]]:
    """Products of two 1024 × 1024 float32 matrices, the limit of dense arithmetic."""
    if by == "torch":
        import torch

        torch.set_num_threads(threads)
        a, b, c = (torch.randn(1024, 1024) for _ in range(3))

        def train(start: int, stop: int) -> None:
            for _ in range(start, stop):
                torch.mm(a, b, out=c)
    else:
        from l2dynamics.training import numerics

        numerics.configure()
        import jax

        x, y = jax.random.normal(jax.random.key(0), (2, 1024, 1024))
        product = jax.jit(lambda x, y: x @ y)

        def train(start: int, stop: int) -> None:
            for _ in range(start, stop):
                jax.block_until_ready(product(x, y))

    return train, lambda: None


def main() -> None:
    """Answer until the input ends."""
    asked = json.loads(sys.argv[1])
    if sys.platform == "linux":
        os.sched_setaffinity(0, asked["cores"])
    threads = len(asked["cores"])
    if asked["by"].startswith("ours"):
        train, evaluate = ours(asked["name"], keep=asked["by"] == "ours")
    elif asked["by"].startswith("gemm, "):
        train, evaluate = gemm(asked["by"].removeprefix("gemm, "), threads)
    else:
        train, evaluate = reference(asked["name"], threads, asked["by"] == "torch.compile")
    from l2dynamics.experiments.schema import FIRST_EVALUATION
    from l2dynamics.training.evaluation import evaluation_steps

    train(0, 3)
    evaluate()
    print("ready", flush=True)
    for line in sys.stdin:
        command, count, *rest = line.split()
        began = time.perf_counter()
        if command == "train":
            train(0, int(count))
        else:
            at = 0
            for step in evaluation_steps(int(count), int(rest[0]), FIRST_EVALUATION):
                train(at, int(step))
                evaluate()
                at = int(step)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
