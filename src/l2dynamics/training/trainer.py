"""Training compiled: the step of :mod:`l2dynamics.training.update` over a segment, for one run or a bucket of runs.

Two drivers apply the same step: a loop in one program, and one program per step dispatched from Python.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from l2dynamics.autol2 import AutoL2, AutoL2State
from l2dynamics.data.datasets import Dataset
from l2dynamics.experiments.setup import Measure, PauseClock, Setup
from l2dynamics.models.layout import Layout
from l2dynamics.training.evaluation import Evaluator
from l2dynamics.training.update import Batch, Examples, Hyper, State, Update


class Run(NamedTuple):
    """Everything that changes in training; a resumed run needs nothing else but the step."""

    state: State
    controller: AutoL2State | None  # None with constant λ

    def in_force(self, hyper: Hyper) -> Hyper:
        """The hyper-parameters with the coefficient in force."""
        return hyper if self.controller is None else hyper._replace(l2=jnp.asarray(self.controller.l2))


class Trainer:
    """Compiled initialisation, update and evaluation of one setup on one data set.

    Args:
        setup: model, loss, batch, momentum, augmentation, schedule.
        dataset: images and labels; whole on the device unless its images are decoded lazily.
        rule: AutoL2 in place of a constant λ; every run brings its own λ₀.
        measure: what AutoL2 measures loss and error on, the minibatch of the step or a fixed subset, the first
            evaluation batch of the training examples.
        clock: what AutoL2's pauses are counted in, steps or ∫η dt / η₀.
        bucket: number of runs trained side by side by vmap; None trains one without a run axis.
        mesh: devices over which the batch is split (axis ``data``).
    """

    def __init__(
        self,
        setup: Setup,
        dataset: Dataset,
        *,
        rule: AutoL2 | None = None,
        measure: Measure = "minibatch",
        clock: PauseClock = "steps",
        bucket: int | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        self.setup, self.dataset, self.bucket, self.mesh = setup, dataset, bucket, mesh
        cpu = jax.default_backend() == "cpu"
        # A batch that is split over devices must not be the innermost axis.
        layout: Layout = "CHWN" if cpu and mesh is None else "NHWC"
        self.update = Update(setup, dataset, layout=layout, mesh=mesh)
        self.steps_per_epoch = self.update.steps_per_epoch
        resident = isinstance(dataset.train_images, np.ndarray)
        # On CPU a convolution of XLA's, which CHWN does without, is 20–70 times slower in a loop (jax issue 12868).
        self.dispatched = not resident or (cpu and layout == "NHWC" and setup.model.kind != "fc")
        self._data: Examples | None = None
        if resident:
            # Arguments, not constants of the compiled programs: those stay small, and all data of one shape share them.
            self._data = (jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels))
        self._lift: Callable[..., Any] = jax.vmap if bucket is not None else lambda function, **_: function
        # Full-batch runs of a bucket share their examples.
        self._batch_axes = Batch(None, *[None if self.update.full_batch else 0] * 2)  # type: ignore[arg-type]
        # It runs once a run, and optimised takes longer to compile than the update.
        self.start = jax.jit(
            self._lift(self.update.initial), compiler_options={"xla_backend_optimization_level": 0}
        )
        self.order = jax.jit(self._lift(self.update.order, in_axes=(0, None)))
        self.fetch = jax.jit(self._fetch)
        # Without AutoL2, so that its runs and those with constant λ dispatch the same program.
        self.step = jax.jit(self._step, donate_argnums=0)
        self._evaluate = Evaluator(self.update, self._lift)
        self._subset: Examples = self._evaluate.subset
        self._set_rule(rule, measure, clock)

    def with_rule(self, rule: AutoL2, measure: Measure, clock: PauseClock = "steps") -> "Trainer":
        """This trainer with AutoL2 in place of a constant λ; the parts that both dispatch are compiled once."""
        trainer = copy.copy(self)
        trainer._set_rule(rule, measure, clock)
        return trainer

    def _set_rule(self, rule: AutoL2 | None, measure: Measure, clock: PauseClock) -> None:
        self.rule, self.measured_on, self.clock = rule, measure, clock
        self.control = jax.jit(self._lift(self._control))
        self.measure = jax.jit(self._measure, donate_argnums=0)
        self.segment = jax.jit(self._segment, donate_argnums=0)

    # ------------------------------------------------------------------------------ over the runs of a bucket

    def _control(self, l2: jax.Array) -> AutoL2State:
        assert self.rule is not None
        return self.rule.init(l2)

    def _step(self, state: State, hyper: Hyper, batch: Batch) -> State:
        lifted: State = self._lift(self.update.step, in_axes=(0, 0, self._batch_axes))(state, hyper, batch)
        return lifted

    def _measure(
        self, controller: AutoL2State, state: State, hyper: Hyper, batch: Batch, subset: Examples
    ) -> AutoL2State:
        def one(controller: AutoL2State, state: State, hyper: Hyper, batch: Batch) -> AutoL2State:
            assert self.rule is not None
            how = self.rule, self.measured_on, self.clock
            return self.update.measure(*how, controller, state, hyper, batch, subset)

        lifted: AutoL2State = self._lift(one, in_axes=(0, 0, 0, self._batch_axes))(
            controller, state, hyper, batch
        )
        return lifted

    def _fetch(self, data: Examples, order: jax.Array, step: jax.Array) -> Examples:
        if self.update.full_batch:
            return data

        def one(order: jax.Array) -> Examples:
            indices = self.update.indices(order, step)
            return data[0][indices], data[1][indices]

        lifted: Examples = self._lift(one)(order)
        return lifted

    def _segment(
        self, run: Run, hyper: Hyper, start: jax.Array, stop: jax.Array, data: Examples, subset: Examples
    ) -> Run:
        """Steps ``start`` to ``stop`` in one program; the bounds are traced."""
        order_of = self._lift(self.update.order, in_axes=(0, None))

        def body(step: jax.Array, carry: tuple[Run, jax.Array]) -> tuple[Run, jax.Array]:
            (state, controller), order = carry
            if not self.update.full_batch:
                epoch = step // self.steps_per_epoch
                new_epoch = step % self.steps_per_epoch == 0
                order = jax.lax.cond(new_epoch, lambda: order_of(hyper, epoch), lambda: order)
            batch = Batch(step, *self._fetch(data, order, step))
            if self.rule is not None and controller is not None:
                due = (step % self.rule.every == 0) & (step > 0)
                controller = jax.lax.cond(
                    due,
                    lambda known: self._measure(known, state, hyper, batch, subset),
                    lambda known: known,
                    controller,
                )
            in_force = Run(state, controller).in_force(hyper)
            return Run(self._step(state, in_force, batch), controller), order

        order = order_of(hyper, start // self.steps_per_epoch)
        return jax.lax.fori_loop(start, stop, body, (run, order))[0]

    # ---------------------------------------------------------------------------------------------- from Python

    def init(self, hyper: Hyper) -> Run:
        """State before the first step."""
        return Run(self.start(hyper), self.control(hyper.l2) if self.rule else None)

    def advance(self, run: Run, hyper: Hyper, start: int, stop: int) -> Run:
        """Train from step ``start`` to step ``stop``; ``run`` is consumed."""
        if start == stop:
            return run
        if not self.dispatched:
            return self.segment(run, hyper, np.int32(start), np.int32(stop), self._data, self._subset)
        state, controller = run
        order = self.order(hyper, np.int32(start // self.steps_per_epoch))
        for step in range(start, stop):
            if step % self.steps_per_epoch == 0 and step != start:
                order = self.order(hyper, np.int32(step // self.steps_per_epoch))
            batch = Batch(np.int32(step), *self.examples_of(order, np.int32(step)))
            if self.rule is not None and step > 0 and step % self.rule.every == 0:
                controller = self.measure(controller, state, hyper, batch, self._subset)
            state = self.step(state, Run(state, controller).in_force(hyper), batch)
        return Run(state, controller)

    def examples_of(self, order: jax.Array, step: np.int32) -> Examples:
        """Images and labels of the batch of a step; a data set that is decoded lazily is decoded here."""
        if self._data is not None:
            batch: Examples = self.fetch(self._data, order, step)
            return batch
        indices = np.asarray(self.update.indices(order, jnp.asarray(step)))
        images, labels = self.dataset.train_images[indices], self.dataset.train_labels[indices]
        return jnp.asarray(images), jnp.asarray(labels)

    def l2(self, run: Run, hyper: Hyper) -> jax.Array:
        """Coefficient in force."""
        return run.in_force(hyper).l2

    def evaluate(self, run: Run, hyper: Hyper) -> dict[str, np.ndarray]:
        """Metrics by name, see :meth:`l2dynamics.training.evaluation.Evaluator.__call__`."""
        return self._evaluate(run.state, self.l2(run, hyper))

    def shapes(self, hyper: Hyper) -> Run:
        """Shapes and types of a run; nothing is compiled."""
        return Run(self.start.eval_shape(hyper), self.control.eval_shape(hyper.l2) if self.rule else None)

    def programs(self, hyper: Hyper) -> list[Callable[[], Any]]:
        """Calls that compile what a run needs, on zeros in its place, in parts: the longest first.

        A process that calls one part leaves the others to other processes: they meet in the persistent cache.
        """
        shapes = self.shapes(hyper)
        order, step = jnp.asarray(np.zeros(self.update.examples, np.int32)), np.int32(0)
        size, shape = self.setup.batch, self.dataset.train_images.shape[1:]
        images, labels = np.zeros((size, *shape), np.uint8), np.zeros(size, np.int32)
        batch = Batch(step, jnp.asarray(images), jnp.asarray(labels))

        def zeros() -> Run:
            # jnp.zeros compiles a program for every shape.
            run: Run = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), shapes)
            return run

        def descend() -> None:
            run = zeros()
            if self.dispatched:
                self.step(run.state, run.in_force(hyper), batch)
            else:
                self.segment(run, hyper, step, step, self._data, self._subset)

        def begin() -> None:
            self.init(hyper)
            if self.dispatched:
                self.order(hyper, step)
                self.examples_of(order, step)

        def measure() -> None:
            run = zeros()
            if run.controller is not None:
                self.measure(run.controller, run.state, hyper, batch, self._subset)

        parts: list[Callable[[], Any]] = [descend, lambda: self.evaluate(zeros(), hyper), begin]
        return [*parts, measure] if self.dispatched else parts
