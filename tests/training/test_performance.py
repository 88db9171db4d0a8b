"""Speed without a clock: how many programs are compiled, calls dispatched, and values brought to the host."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import TESTS
from small_setups import dataset, hyper, setup

from l2dynamics.autol2 import AutoL2
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.schema import Resources
from l2dynamics.experiments.setup import Measure, Setup
from l2dynamics.models.layers import BatchNorm
from l2dynamics.running import workload
from l2dynamics.training.trainer import Trainer
from l2dynamics.training.update import Batch

# What a compiled program holds if the host takes part in it.
HOST = re.compile(r"\b(infeed|outfeed|send|recv|host-compute|MoveToHost|xla_(ffi_)?python_\w*callback)\b")


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The programs compiled inside, by what jax reports."""
    found: list[str] = []

    def listen(event: str, duration: float, **details: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(str(details.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def run(trainer: Trainer, **values: Any) -> None:
    hp = hyper(**values)
    state = trainer.init(hp)
    for start, stop in ((0, 1), (1, 3), (3, 8)):
        state = trainer.advance(state, hp, start, stop)
        trainer.evaluate(state, hp)


def test_the_second_run_of_a_sweep_compiles_nothing() -> None:
    of = setup(momentum=0.9)
    trainer = Trainer(of, dataset(of))
    with compilations() as first:
        run(trainer)
    with compilations() as second:
        run(trainer, eta=0.05, l2=0.1, sigma_w=1.0, seed=7, decays=(2,))
    assert second == []
    # init, update (or segment), order, fetch, evaluation; and jax's own small ones.
    assert 3 <= len(first) <= 40


def test_a_segment_is_one_call_and_nothing_comes_to_the_host() -> None:
    of = setup(batch=24)
    trainer = Trainer(of, dataset(of))
    hp = hyper()
    state = trainer.advance(trainer.init(hp), hp, 0, 1)
    calls: Counter[str] = Counter()

    def counted(name: str) -> Any:
        real = getattr(trainer, name)

        def call(*args: Any) -> Any:
            calls[name] += 1
            return real(*args)

        return call

    for name in ("segment", "step", "fetch", "order", "measure"):
        setattr(trainer, name, counted(name))
    with jax.transfer_guard_device_to_host("disallow"), compilations() as compiled:
        trainer.advance(state, hp, 1, 1000)
    assert (calls, compiled) == ({"segment": 1}, [])


def test_dispatched_steps_take_two_calls_and_one_per_epoch() -> None:
    of = setup("cnn")
    trainer = Trainer(of, dataset(of))
    trainer.dispatched = True
    hp = hyper(eta=0.01)
    state = trainer.advance(trainer.init(hp), hp, 0, 1)
    calls: Counter[str] = Counter()
    for name in ("segment", "step", "fetch", "order", "measure"):
        real = getattr(trainer, name)
        setattr(trainer, name, lambda *args, n=name, r=real: (calls.update([n]), r(*args))[1])
    with jax.transfer_guard_device_to_host("disallow"), compilations() as compiled:
        trainer.advance(state, hp, 3, 9)  # two epochs
    assert (calls, compiled) == ({"fetch": 6, "step": 6, "order": 2}, [])


@pytest.mark.parametrize(
    ("dispatched", "large"),
    [
        (False, {"initial", "_control", "_score", "_segment"}),
        (True, {"initial", "_control", "_score", "order", "_fetch", "_step", "_measure"}),
    ],
)
@pytest.mark.parametrize("measure", ["minibatch", "subset"])
def test_the_parts_that_workers_compile_are_all_that_a_run_needs(
    measure: Measure, dispatched: bool, large: set[str]
) -> None:
    of = setup("cnn", momentum=0.9)
    hp = hyper(eta=0.01)

    def compiled_by_a_run(trainer: Trainer) -> set[str]:
        with compilations() as compiled:
            state = trainer.init(hp)
            state = trainer.advance(state, hp, 0, 9)
            trainer.evaluate(state, hp)
        return {name.removeprefix("jit(").removesuffix(")") for name in compiled}

    ready, cold = (Trainer(of, dataset(of), rule=AutoL2(every=2), measure=measure) for _ in range(2))
    ready.dispatched = cold.dispatched = dispatched
    for program in ready.programs(hp):
        program()
    left = compiled_by_a_run(ready)
    assert large <= compiled_by_a_run(cold), "these are the names of what a run compiles"
    assert not large & left


def test_autol2_and_constant_l2_share_what_both_do() -> None:
    of = setup("cnn", momentum=0.9)
    constant, hp = Trainer(of, dataset(of)), hyper(eta=0.01)
    constant.dispatched = True
    constant.evaluate(constant.advance(constant.init(hp), hp, 0, 3), hp)
    adaptive = constant.with_rule(AutoL2(every=2), "subset")
    with compilations() as compiled:
        state = adaptive.advance(adaptive.init(hp), hp, 0, 3)
        adaptive.evaluate(state, hp)
    assert {"jit(_measure)"} <= set(compiled) <= {"jit(_control)", "jit(_measure)"}
    assert constant.rule is None
    whole = Trainer(of, dataset(of), rule=AutoL2(every=2), measure="subset")
    whole.dispatched = True
    jax.tree.map(np.testing.assert_array_equal, state, whole.advance(whole.init(hp), hp, 0, 3))


@pytest.mark.parametrize(("model", "bucket"), [("fc", None), ("fc", 3), ("cnn_bn", None)])
def test_compiled_segments_do_without_the_host(model: str, bucket: int | None) -> None:
    of = setup(model, augment=model == "cnn_bn", momentum=0.9)
    trainer = Trainer(of, dataset(of), bucket=bucket)
    hp = hyper() if bucket is None else jax.tree.map(lambda leaf: jnp.stack([leaf] * bucket), hyper())
    state = trainer.shapes(hp)
    lowered = trainer.segment.lower(state, hp, np.int32(0), np.int32(9), trainer._data, trainer._subset)
    # State in, state out, in the same memory.
    donated = len(jax.tree.leaves(state))
    assert len(re.findall(r"tf.aliasing_output|jax.buffer_donor", lowered.as_text())) == donated
    assert HOST.findall(lowered.compile().as_text()) == []


_DEVICES = """
import json, re, sys
from l2dynamics.training import numerics
numerics.configure()
import jax, numpy as np
from jax.sharding import AxisType
from small_setups import dataset, hyper, setup
from l2dynamics.training.trainer import Trainer

of = setup("cnn_bn", batch=16, bn_group=2, momentum=0.9, augment=True, eval_batch=8)
data, hp, found, host = dataset(of), hyper(eta=0.05), [], re.compile(sys.argv[1])
for mesh in (None, jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))):
    trainer = Trainer(of, data, mesh=mesh)
    trainer.dispatched = False  # as on accelerators
    state, data_of = trainer.init(hp), (trainer._data, trainer._subset)
    program = trainer.segment.lower(state, hp, np.int32(0), np.int32(4), *data_of).compile()
    text = program.as_text()
    with jax.transfer_guard_device_to_host("disallow"):
        state = program(state, hp, np.int32(0), np.int32(4), *data_of)
    found.append({
        "devices": max(len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state)),
        "host": len(host.findall(text)), "reduced": "all-reduce" in text,
        "metrics": {name: float(value) for name, value in trainer.evaluate(state, hp).items()},
    })
json.dump(found, sys.stdout)
"""


@pytest.mark.slow
def test_eight_devices_train_in_one_program_without_the_host() -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    env = {**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", _DEVICES, HOST.pattern], cwd=TESTS, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, eight = json.loads(done.stdout)
    assert (one["devices"], eight["devices"]) == (1, 8)
    assert (one["host"], eight["host"]) == (0, 0)
    assert eight["reduced"]
    assert eight["metrics"].keys() == one["metrics"].keys()
    for name, value in one["metrics"].items():
        np.testing.assert_allclose(eight["metrics"][name], value, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize(("model", "convolutions"), [("cnn", 4), ("wrn", 9)])
def test_a_convolution_and_its_gradients_are_compiled_apart_on_cpu(model: str, convolutions: int) -> None:
    of = setup(model)
    trainer = Trainer(of, dataset(of))
    hp = hyper()
    batch = Batch(np.int32(0), np.zeros((of.batch, 10, 10, 3), np.uint8), np.zeros(of.batch, np.int32))
    program = trainer.step.lower(trainer.shapes(hp).state, hp, batch).compile().as_text()
    assert " convolution(" not in program
    entry = program[program.index("ENTRY") :]
    # One call forward, one backward: else activations are computed again for every row of a window. And three that put
    # the batch last, and first again in the logits and their gradients.
    assert entry.count(" call(") == 2 * convolutions + 3


# ------------------------------------------------------------------------------------------ precision


def test_bfloat16_keeps_weights_velocity_and_sums_in_float32() -> None:
    of = {precision: setup(momentum=0.9, precision=precision) for precision in ("float32", "bfloat16")}
    losses = {}
    for precision, one in of.items():
        trainer = Trainer(one, dataset(one))
        hp = hyper(eta=0.1)
        state = trainer.init(hp)
        before = jax.tree.leaves(state)
        state = trainer.advance(state, hp, 0, 8)
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}
        assert [leaf.shape for leaf in before] == [leaf.shape for leaf in jax.tree.leaves(state)]
        losses[precision] = trainer.evaluate(state, hp)
    low, full = losses["bfloat16"], losses["float32"]
    assert low["train_loss"] != full["train_loss"], "the option does nothing"
    for name in ("train_loss", "test_loss", "l2_norm"):
        np.testing.assert_allclose(low[name], full[name], rtol=0.03, err_msg=name)


def test_bfloat16_multiplies_in_bfloat16_and_normalises_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    of = setup("cnn_bn", precision="bfloat16")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # on CPU sums are products too
    trainer = Trainer(of, dataset(of))
    params = trainer.init(hyper()).state.params
    x = jnp.zeros((8, 10, 10, 3))
    jaxpr = jax.make_jaxpr(lambda params: trainer.update.logits(params, x, True))(params)
    types = {"conv_general_dilated": set(), "dot_general": set(), "rsqrt": set()}
    for name, dtype in _operations(jaxpr.jaxpr):
        if name in types:
            types[name].add(dtype)
    assert types == {"conv_general_dilated": {"bfloat16"}, "dot_general": {"bfloat16"}, "rsqrt": {"float32"}}


def _operations(jaxpr: Any) -> Iterator[tuple[str, str]]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name, str(equation.invars[0].aval.dtype) if equation.invars else ""
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _operations(inner)


def test_small_differences_survive_batch_norm_in_bfloat16() -> None:
    x = 100 + jax.random.normal(jax.random.key(0), (64, 4))
    norm = BatchNorm()
    y = norm.apply(norm.init(jax.random.key(1), x, train=True), x, train=True)
    np.testing.assert_allclose(np.std(np.asarray(y), 0), 1, atol=0.02)


# ------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_estimate_of_a_run_covers_what_the_compiler_allocates(momentum: float) -> None:
    changes = {
        "data": {"name": "mnist", "train": 64, "test": 16, "image_size": 14},
        "model": {"kind": "fc", "depth": 3, "width": 128},
    }
    of = Setup.model_validate({**setup(batch=24, momentum=momentum).model_dump(), **changes, "batch": 64})
    data, needed = dataset(of), {}
    for bucket in (2, 10):
        trainer = Trainer(of, data, bucket=bucket)
        hp = jax.tree.map(lambda leaf, n=bucket: jnp.stack([leaf] * n), hyper())
        state = trainer.shapes(hp)
        program = trainer.segment.lower(state, hp, np.int32(0), np.int32(9), trainer._data, trainer._subset)
        memory = program.compile().memory_analysis()
        needed[bucket] = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    per_run = (needed[10] - needed[2]) / 8
    assert 0.4 < per_run / workload.run_bytes(of, 196, 10) < 1.0


@pytest.mark.parametrize(("memory", "sizes"), [(16.0, [5, 2]), (2.2e-5, [3, 3, 1]), (1e-9, [1] * 7)])
def test_buckets_are_as_large_as_their_memory_allows(
    memory: float, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = setup()
    monkeypatch.setattr(workload, "dataset", lambda recipe: dataset(recipe.setup))
    assert 3 * workload.run_bytes(of, 16, 10) < 2.2e4 < 4 * workload.run_bytes(of, 16, 10)
    recipe = Recipe("sweep@x", of, 6, "sample", tmp_path, bucket=5, resources=Resources(memory=memory))
    specs = [RunSpec("grid", 0.1, 0.01, seed, 1.4, 8.0, 24) for seed in range(7)]
    assert [len(job.specs) for job in workload.jobs(recipe, specs)] == sizes
