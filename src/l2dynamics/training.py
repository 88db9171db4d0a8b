"""Gradient descent with L2 regularization, the update written as in the paper, compiled once per architecture.

For a run with learning rate η, coefficient λ and momentum μ, step t does

    g = ∇L(θ_t; batch_t) + λ θ_t,    v ← μ v + g,    θ_{t+1} = θ_t − η_t v.

η, λ, σw, the seed, the points of the schedule and the number of steps are traced: a sweep over them compiles one
program. Randomness is stateless: the batch and the augmentation of step t are functions of (seed, t).
"""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from l2dynamics import models
from l2dynamics.augmentation import flip_and_crop, mixup
from l2dynamics.autol2 import AutoL2, AutoL2State
from l2dynamics.config import Measure, Setup
from l2dynamics.data import Dataset
from l2dynamics.losses import LOSSES, correct
from l2dynamics.models.layout import Layout
from l2dynamics.regularization import add_l2, squared_norm
from l2dynamics.runs import RunSpec

METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "l2_norm", "l2")
NEVER = np.iinfo(np.int32).max
"""A step that no run reaches."""
_STREAMS = {"init": 0, "order": 1, "augment": 2}


Examples = tuple[jax.Array, jax.Array]
"""Images, uint8 ``[n, height, width, channels]``, and labels, int32 ``[n]``."""


class Hyper(NamedTuple):
    """Traced hyper-parameters of one run, or arrays with a leading run axis for a bucket of runs."""

    eta: jax.Array  # float32: learning rate before any decay
    l2: jax.Array  # float32: the coefficient; under AutoL2 the one to start from
    sigma_w: jax.Array  # float32: gain of the initial weights
    seed: jax.Array  # int32
    decays: (
        jax.Array
    )  # int32 [≥ 3]: steps at which the learning rate is multiplied by ``factor``, NEVER if unused
    factor: jax.Array  # float32: of the learning-rate schedule, 1 without one


class State(NamedTuple):
    """Everything that changes in training; a resumed run needs nothing else but the step."""

    params: Any
    velocity: Any  # None without momentum
    controller: AutoL2State | None  # None with constant λ


def hyper_of(setup: Setup, specs: Sequence[RunSpec]) -> Hyper:
    """Hyper-parameters of the runs of a job: scalars for one run, arrays with a leading run axis for a bucket."""
    at, factor = (setup.schedule.at, setup.schedule.factor) if setup.schedule else ((), 1.0)
    # At least three, so that setups with and without a schedule share one compiled program.
    unused = [NEVER] * (3 - len(at))
    decays = [[round(fraction * spec.steps) for fraction in at] + unused for spec in specs]
    rows = {
        "eta": np.asarray([spec.eta for spec in specs], np.float32),
        "l2": np.asarray([spec.l2 for spec in specs], np.float32),
        "sigma_w": np.asarray([spec.sigma_w for spec in specs], np.float32),
        "seed": np.asarray([spec.seed for spec in specs], np.int32),
        "decays": np.asarray(decays, np.int32),
        "factor": np.full(len(specs), factor, np.float32),
    }
    # The index is NumPy's: into an array of jax it would be a program that XLA compiles.
    return Hyper(**{name: jnp.asarray(row if len(specs) > 1 else row[0]) for name, row in rows.items()})


def stream(seed: jax.Array, name: str) -> jax.Array:
    """PRNG key of the named random stream (init, order, augment) of a run."""
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), _STREAMS[name])


def steps_per_epoch(setup: Setup, examples: int) -> int:
    """``ceil(examples / batch)``; the last batch of an epoch is filled up with its first examples."""
    return -(-examples // setup.batch)


def evaluation_steps(steps: int, evaluations: int, first: float) -> np.ndarray:
    """Step 0 and about ``evaluations`` log-spaced steps from ``first * steps`` to ``steps``, increasing integers.

    From step 1 on, a third of the evaluations of a long run would show it untrained.
    """
    spaced = np.rint(np.geomspace(max(1, steps * first), steps, evaluations)).astype(np.int64)
    return np.unique(np.concatenate([[0], spaced, [steps]]))


class Trainer:
    """Compiled initialisation, update and evaluation of one setup on one data set.

    Args:
        setup: model, loss, batch, momentum, augmentation, schedule.
        dataset: images and labels; whole on the device unless its images are decoded lazily.
        controller: AutoL2 in place of a constant λ.
        measure: what AutoL2 measures loss and error on, the minibatch of the step or a fixed subset, the first
            evaluation batch of the training examples.
        bucket: number of runs trained side by side by vmap; None trains one without a run axis.
        mesh: devices over which the batch is split (axis ``data``).
    """

    def __init__(
        self,
        setup: Setup,
        dataset: Dataset,
        *,
        controller: AutoL2 | None = None,
        measure: Measure = "minibatch",
        bucket: int | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        self.setup, self.dataset, self.bucket, self.mesh = setup, dataset, bucket, mesh
        self.examples = len(dataset.train_labels)
        if setup.batch > self.examples:
            raise ValueError(f"batch: {setup.batch} is larger than the training set ({self.examples})")
        self.steps_per_epoch = steps_per_epoch(setup, self.examples)
        self.full_batch = setup.batch == self.examples
        self.resident = isinstance(dataset.train_images, np.ndarray)
        # A batch that is split over devices must not be the innermost axis.
        cpu = jax.default_backend() == "cpu"
        self.layout: Layout = "CHWN" if cpu and mesh is None else "NHWC"
        # AutoL2 and constant λ dispatch one program, which takes seconds to compile for a convolutional net. In a loop
        # a step takes a tenth less on CPU, but with a convolution of XLA's, for a mesh, 20–70 times as long (jax issue
        # 12868). A host-fed data set is dispatched everywhere.
        self.dispatched = not self.resident or (cpu and setup.model.kind != "fc")
        dtype = jnp.bfloat16 if setup.precision == "bfloat16" else None
        self.module = models.build(
            **setup.model.model_dump(),
            classes=dataset.classes,
            bn_group=setup.bn_group,
            dtype=dtype,
            layout=self.layout,
        )
        self._mean = jnp.asarray(dataset.mean)
        self._inverse_std = jnp.asarray(1 / np.maximum(dataset.std, 1e-6), jnp.float32)
        self._loss = LOSSES[setup.loss]
        measured = self.examples if setup.eval_train is None else min(setup.eval_train, self.examples)
        self._evaluated = [
            [self._chunk(images, labels, start, count) for start in range(0, count, setup.eval_batch)]
            for images, labels, count in (
                (dataset.train_images, dataset.train_labels, measured),
                (dataset.test_images, dataset.test_labels, len(dataset.test_labels)),
            )
        ]
        # Arguments, not constants of the compiled programs: those stay small, and all data of one shape share them.
        self._subset: Examples = self._evaluated[0][0]
        self._data: Examples | None = None
        if self.resident:
            self._data = (jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels))
        lift = jax.vmap if bucket is not None else lambda function, **_: function
        self._lift: Callable[..., Any] = lift
        # It runs once a run, and optimised takes longer to compile (13 s for a small Wide ResNet) than the update.
        self.start = jax.jit(lift(self._start), compiler_options={"xla_backend_optimization_level": 0})
        self.order = jax.jit(lift(self._order, in_axes=(0, None)))
        self.fetch = jax.jit(self._lifted_gather)
        # Without the controller, so that AutoL2 and constant λ run the same program.
        self.descend = jax.jit(self._lifted_descend, donate_argnums=(0, 1))
        self._score = jax.jit(lift(self._scores, in_axes=(0, None, None)))
        self._norm = jax.jit(lift(lambda params: jnp.sqrt(squared_norm(params))))
        self._set_controller(controller, measure)

    def with_controller(self, controller: AutoL2, measure: Measure) -> "Trainer":
        """This trainer with AutoL2 in place of a constant λ; what both do is traced and compiled once."""
        trainer = copy.copy(self)
        trainer._set_controller(controller, measure)
        return trainer

    def _set_controller(self, controller: AutoL2 | None, measure: Measure) -> None:
        self.controller, self.measured_on = controller, measure
        self.control = jax.jit(self._lift(self._control))
        self.measure = jax.jit(self._lifted_measure, donate_argnums=0)
        self.segment = jax.jit(self._segment, donate_argnums=0)

    def _chunk(self, images: Any, labels: Any, start: int, count: int) -> tuple[jax.Array, jax.Array]:
        stop = min(start + self.setup.eval_batch, count)
        return jnp.asarray(images[start:stop]), jnp.asarray(labels[start:stop])

    # ------------------------------------------------------------------------------------------ one run, pure

    def _start(self, hyper: Hyper) -> tuple[Any, Any]:
        params = models.initialize(
            self.module,
            stream(hyper.seed, "init"),
            (1, *self.dataset.train_images.shape[1:]),
            sigma_w=hyper.sigma_w,
            sigma_b=self.setup.sigma_b,
        )
        velocity = jax.tree.map(jnp.zeros_like, params) if self.setup.momentum else None
        return params, velocity

    def _control(self, l2: jax.Array) -> AutoL2State:
        assert self.controller is not None
        return self.controller.init()._replace(l2=l2)

    def _order(self, hyper: Hyper, epoch: jax.Array) -> jax.Array:
        """Order of the training examples in one epoch, int32 ``[examples]``."""
        if self.full_batch:
            return jnp.arange(self.examples)
        return jax.random.permutation(jax.random.fold_in(stream(hyper.seed, "order"), epoch), self.examples)

    def _indices(self, order: jax.Array, step: jax.Array) -> jax.Array:
        first = (step % self.steps_per_epoch) * self.setup.batch
        return order[(first + jnp.arange(self.setup.batch)) % self.examples]

    def _gather(self, data: Examples, order: jax.Array, step: jax.Array) -> Examples:
        """Images (uint8) and labels of the batch of one step."""
        indices = self._indices(order, step)
        return data[0][indices], data[1][indices]

    def _normalise(self, images: jax.Array) -> jax.Array:
        return (images.astype(jnp.float32) * jnp.float32(1 / 255) - self._mean) * self._inverse_std

    def _prepare(
        self, hyper: Hyper, step: jax.Array, images: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Network inputs and targets of step ``step``, augmented where the setup says so."""
        x, y = self._normalise(images), jax.nn.one_hot(labels, self.dataset.classes)
        if self.setup.augment:
            crop_key, mix_key = jax.random.split(jax.random.fold_in(stream(hyper.seed, "augment"), step))
            x, y = mixup(mix_key, flip_and_crop(crop_key, x), y)
        if self.mesh is not None:
            sharding = NamedSharding(self.mesh, PartitionSpec("data"))
            x, y = jax.lax.with_sharding_constraint((x, y), sharding)
        return x, y

    def _logits(self, params: Any, x: jax.Array, train: bool) -> jax.Array:
        logits = self.module.apply({"params": params}, x, train=train)
        return logits.astype(jnp.float32)

    def _descend(
        self,
        params: Any,
        velocity: Any,
        l2: jax.Array,
        hyper: Hyper,
        step: jax.Array,
        images: jax.Array,
        labels: jax.Array,
    ) -> tuple[Any, Any]:
        """One update of parameters and velocity, the equation at the top of this module."""
        x, y = self._prepare(hyper, step, images, labels)
        grads = jax.grad(lambda params: jnp.mean(self._loss(self._logits(params, x, True), y)))(params)
        grads = add_l2(grads, params, l2)
        if velocity is not None:
            momentum = jnp.float32(self.setup.momentum)
            velocity = grads = jax.tree.map(lambda v, g: momentum * v + g, velocity, grads)
        decays = jnp.sum(step >= hyper.decays).astype(jnp.float32)
        eta = hyper.eta * hyper.factor**decays
        return jax.tree.map(lambda p, g: p - eta * g, params, grads), velocity

    def _measure(
        self,
        state: State,
        hyper: Hyper,
        step: jax.Array,
        images: jax.Array,
        labels: jax.Array,
        subset: Examples,
    ) -> State:
        """AutoL2's measurement after ``step`` updates, on the coming minibatch or on the fixed subset."""
        assert self.controller is not None
        assert state.controller is not None
        if self.measured_on == "minibatch":
            x, y = self._prepare(hyper, step, images, labels)
            logits = self._logits(state.params, x, True)
        else:
            x, y = self._normalise(subset[0]), jax.nn.one_hot(subset[1], self.dataset.classes)
            logits = self._logits(state.params, x, False)
        controller = self.controller.update(
            state.controller, step, jnp.mean(self._loss(logits, y)), 1 - jnp.mean(correct(logits, y))
        )
        return state._replace(controller=controller)

    def _scores(self, params: Any, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        targets = jax.nn.one_hot(labels, self.dataset.classes)
        logits = self._logits(params, self._normalise(images), False)
        return jnp.sum(self._loss(logits, targets)), jnp.sum(correct(logits, targets))

    # ------------------------------------------------------------------------------ over the runs of a bucket

    def _lifted_descend(self, *args: Any) -> tuple[Any, Any]:
        batch = None if self.full_batch else 0
        lifted: tuple[Any, Any] = self._lift(self._descend, in_axes=(0, 0, 0, 0, None, batch, batch))(*args)
        return lifted

    def _lifted_measure(self, *args: Any) -> State:
        batch = None if self.full_batch else 0
        lifted: State = self._lift(self._measure, in_axes=(0, 0, None, batch, batch, None))(*args)
        return lifted

    def _lifted_gather(self, data: Examples, order: jax.Array, step: jax.Array) -> Examples:
        if self.full_batch:
            return data
        lifted: Examples = self._lift(self._gather, in_axes=(None, 0, None))(data, order, step)
        return lifted

    def _segment(
        self, state: State, hyper: Hyper, start: jax.Array, stop: jax.Array, data: Examples, subset: Examples
    ) -> State:
        """Steps ``start`` to ``stop`` in one program; the bounds are traced."""
        order_of = self._lift(self._order, in_axes=(0, None))

        def body(step: jax.Array, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            state, order = carry
            if not self.full_batch:
                epoch = step // self.steps_per_epoch
                new_epoch = step % self.steps_per_epoch == 0
                order = jax.lax.cond(new_epoch, lambda: order_of(hyper, epoch), lambda: order)
            images, labels = self._lifted_gather(data, order, step)
            if self.controller is not None:
                due = (step % self.controller.every == 0) & (step > 0)
                state = jax.lax.cond(
                    due,
                    lambda s: self._lifted_measure(s, hyper, step, images, labels, subset),
                    lambda s: s,
                    state,
                )
            l2 = self.l2(state, hyper)
            params, velocity = self._lifted_descend(
                state.params, state.velocity, l2, hyper, step, images, labels
            )
            return State(params, velocity, state.controller), order

        order = order_of(hyper, start // self.steps_per_epoch)
        return jax.lax.fori_loop(start, stop, body, (state, order))[0]

    # ---------------------------------------------------------------------------------------------- from Python

    def advance(self, state: State, hyper: Hyper, start: int, stop: int) -> State:
        """Train from step ``start`` to step ``stop``; ``state`` is consumed."""
        if start == stop:
            return state
        if not self.dispatched:
            return self.segment(state, hyper, np.int32(start), np.int32(stop), self._data, self._subset)
        order = self.order(hyper, np.int32(start // self.steps_per_epoch))
        for step in range(start, stop):
            if step % self.steps_per_epoch == 0 and step != start:
                order = self.order(hyper, np.int32(step // self.steps_per_epoch))
            index = np.int32(step)
            images, labels = self._batch(order, index)
            if self.controller is not None and step > 0 and step % self.controller.every == 0:
                state = self.measure(state, hyper, index, images, labels, self._subset)
            l2 = self.l2(state, hyper)
            params, velocity = self.descend(state.params, state.velocity, l2, hyper, index, images, labels)
            state = State(params, velocity, state.controller)
        return state

    def init(self, hyper: Hyper) -> State:
        """State before the first step."""
        params, velocity = self.start(hyper)
        return State(params, velocity, self.control(hyper.l2) if self.controller else None)

    def shapes(self, hyper: Hyper) -> State:
        """Shapes and types of a state; nothing is compiled."""
        params, velocity = self.start.eval_shape(hyper)
        return State(params, velocity, self.control.eval_shape(hyper.l2) if self.controller else None)

    def programs(self, hyper: Hyper) -> list[Callable[[], Any]]:
        """Calls that compile what a run dispatches, on zeros in its place, in parts: the longest first.

        A process that calls one part leaves the others to other processes: they meet in the persistent cache.
        """
        shapes = self.shapes(hyper)
        order, step = jnp.asarray(np.zeros(self.examples, np.int32)), np.int32(0)
        size, shape = self.setup.batch, self.dataset.train_images.shape[1:]
        batch = jnp.asarray(np.zeros((size, *shape), np.uint8)), jnp.asarray(np.zeros(size, np.int32))

        def zeros() -> State:
            # jnp.zeros compiles a program for every shape.
            state: State = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), shapes)
            return state

        def descend() -> None:
            state = zeros()
            self.descend(state.params, state.velocity, self.l2(state, hyper), hyper, step, *batch)

        def begin() -> None:
            self.init(hyper)
            self.order(hyper, step)
            self._batch(order, step)

        def measure() -> None:
            if self.controller is not None:
                self.measure(zeros(), hyper, step, *batch, self._subset)

        return [descend, lambda: self.evaluate(zeros(), hyper), begin, measure]

    def _batch(self, order: jax.Array, step: np.int32) -> Examples:
        if self._data is not None:
            batch: Examples = self.fetch(self._data, order, step)
            return batch
        indices = np.asarray(self._indices(order, jnp.asarray(step)))
        images, labels = self.dataset.train_images[indices], self.dataset.train_labels[indices]
        return jnp.asarray(images), jnp.asarray(labels)

    def l2(self, state: State, hyper: Hyper) -> jax.Array:
        """Coefficient in force."""
        return hyper.l2 if state.controller is None else state.controller.l2

    def evaluate(self, state: State, hyper: Hyper) -> np.ndarray:
        """Metrics in the order of ``METRICS``, float64, shape ``[6]`` or ``[bucket, 6]``.

        ``train_loss`` and ``test_loss`` are without the L2 term; the training metrics are those of the first
        ``eval_train`` examples, not augmented; ``l2`` is the coefficient in force.
        """
        scores: list[Any] = []
        for chunks in self._evaluated:
            parts = [self._score(state.params, images, labels) for images, labels in chunks]
            count = sum(len(labels) for _, labels in chunks)
            scores += [np.sum([np.asarray(part[i], np.float64) for part in parts], 0) / count for i in (0, 1)]
        l2 = self.l2(state, hyper)
        scores += [np.asarray(self._norm(state.params), np.float64), np.asarray(l2, np.float64)]
        return np.stack(scores, -1)


class Clock:
    """Sizes the pieces of a long segment to about two seconds, so that a run can be watched, saved and stopped."""

    target_seconds = 2.0

    def __init__(self) -> None:
        self.pure_seconds = 0.0
        self._piece = 1

    def pieces(self, trainer: Trainer, state: State, hyper: Hyper, start: int, stop: int) -> Any:
        """Yield (step, state) after every piece of the segment from ``start`` to ``stop``."""
        step = start
        while step < stop:
            end = min(stop, step + self._piece)
            began = time.perf_counter()
            state = jax.block_until_ready(trainer.advance(state, hyper, step, end))
            seconds = time.perf_counter() - began
            self.pure_seconds += seconds
            if end - step == self._piece and seconds < self.target_seconds / 2:
                self._piece *= 2
            elif seconds > 2 * self.target_seconds and self._piece > 1:
                self._piece //= 2
            step = end
            yield step, state
