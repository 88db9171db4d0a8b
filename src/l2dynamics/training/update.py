"""Gradient descent with L2 regularization: one pure step of one run, the update written as in the paper.

For a run with learning rate η, coefficient λ and momentum μ, step t does

    g = ∇L(θ_t; batch_t) + λ θ_t,    v ← μ v + g,    θ_{t+1} = θ_t − η_t v.

Not in the paper are Adam, which scales g of L2 and loss together, and AdamW, whose decay is decoupled from that:

    adam:  θ_{t+1} = θ_t − η_t Adam(∇L + λ θ_t),    adamw:  θ_{t+1} = θ_t − η_t (Adam(∇L) + λ θ_t),

    Adam(g):  m ← β₁ m + (1 − β₁) g,  s ← β₂ s + (1 − β₂) g²,  Adam(g) = m̂ / (√ŝ + ε)

(Kingma & Ba 2015; Loshchilov & Hutter 2019), with m̂ = m / (1 − β₁^{t+1}) and ŝ likewise.

η, λ, σw, the seed and the points of the schedule are traced: a sweep over them compiles one program. Randomness is
stateless: the batch and the augmentation of step t are functions of (seed, t).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from l2dynamics.autol2 import AutoL2, AutoL2State
from l2dynamics.data.datasets import Dataset
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.setup import CosineSchedule, Measure, PauseClock, Setup, StepSchedule
from l2dynamics.models import networks
from l2dynamics.models.layout import Layout
from l2dynamics.training import schedules
from l2dynamics.training.augmentation import flip_and_crop, mixup
from l2dynamics.training.losses import LOSSES, correct
from l2dynamics.training.regularization import add_l2

NEVER = np.iinfo(np.int32).max
"""A step that no run reaches."""
_STREAMS = {"init": 0, "order": 1, "augment": 2}
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8

Examples = tuple[jax.Array, jax.Array]
"""Images, uint8 ``[n, height, width, channels]``, and labels, int32 ``[n]``."""


class Hyper(NamedTuple):
    """Traced hyper-parameters of one run, or arrays with a leading run axis for a bucket of runs."""

    eta: jax.Array  # float32: learning rate η before any decay
    l2: jax.Array  # float32: coefficient λ in force; AutoL2 starts from that of step 0
    sigma_w: jax.Array  # float32: gain of the initial weights
    seed: jax.Array  # int32
    decays: jax.Array  # int32 [≥ 3]: steps at which η is multiplied by ``factor``, NEVER if unused
    factor: jax.Array  # float32: of the learning-rate schedule, 1 without one
    steps: jax.Array  # int32: length of the run, over which a cosine schedule falls


class State(NamedTuple):
    """What a step changes."""

    params: Any
    memory: Any  # velocity or Adam's two moments; None for SGD without momentum


class Batch(NamedTuple):
    """The examples of one step."""

    step: jax.Array | np.int32  # int32: updates made before this one
    images: jax.Array  # uint8 [batch, height, width, channels]
    labels: jax.Array  # int32 [batch]


def hyper_of(setup: Setup, specs: Sequence[RunSpec]) -> Hyper:
    """Hyper-parameters of the runs of a job: scalars for one run, arrays with a leading run axis for a bucket."""
    decaying = setup.schedule if isinstance(setup.schedule, StepSchedule) else None
    at, factor = (decaying.at, decaying.factor) if decaying else ((), 1.0)
    # At least three, so that setups with and without a schedule share one compiled program.
    unused = [NEVER] * (3 - len(at))
    decays = [[round(fraction * spec.steps) for fraction in at] + unused for spec in specs]
    rows = {
        "eta": np.asarray([spec.eta for spec in specs], np.float32),
        "l2": np.asarray([spec.first_l2 for spec in specs], np.float32),
        "sigma_w": np.asarray([spec.sigma_w for spec in specs], np.float32),
        "seed": np.asarray([spec.seed for spec in specs], np.int32),
        "decays": np.asarray(decays, np.int32),
        "factor": np.full(len(specs), factor, np.float32),
        "steps": np.asarray([spec.steps for spec in specs], np.int32),
    }
    # The index is NumPy's: into an array of jax it would be a program that XLA compiles.
    return Hyper(**{name: jnp.asarray(row if len(specs) > 1 else row[0]) for name, row in rows.items()})


def stream(seed: jax.Array, name: str) -> jax.Array:
    """PRNG key of the named random stream (init, order, augment) of a run."""
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), _STREAMS[name])


def adam(grads: Any, moments: tuple[Any, Any], step: jax.Array | np.int32) -> tuple[Any, tuple[Any, Any]]:
    """Adam's scaled gradient and its two moments after a step."""
    first, second = (
        jax.tree.map(lambda m, g, b=beta, k=power: b * m + (1 - b) * g**k, before, grads)
        for before, beta, power in zip(moments, _BETAS, (1, 2), strict=True)
    )
    time = jnp.asarray(step + 1, jnp.float32)
    left, left_of_squares = (1 - jnp.float32(beta) ** time for beta in _BETAS)
    scaled = jax.tree.map(lambda m, s: (m / left) / (jnp.sqrt(s / left_of_squares) + _EPSILON), first, second)
    return scaled, (first, second)


class Update:
    """The pure functions of one run of a setup on a data set; the images themselves are arguments.

    Args:
        setup: model, loss, batch, momentum, augmentation.
        dataset: sizes, classes and channel statistics.
        layout: of the activations, see :mod:`l2dynamics.models.layout`.
        mesh: devices over which the batch is split (axis ``data``).

    Raises:
        ValueError: the batch is larger than the training set.
    """

    def __init__(
        self, setup: Setup, dataset: Dataset, *, layout: Layout = "NHWC", mesh: Mesh | None = None
    ) -> None:
        self.setup, self.dataset, self.mesh = setup, dataset, mesh
        self.examples = len(dataset.train_labels)
        if setup.batch > self.examples:
            raise ValueError(f"batch: {setup.batch} is larger than the training set ({self.examples})")
        self.steps_per_epoch = setup.steps_per_epoch(self.examples)
        self.full_batch = setup.batch == self.examples
        self.module = networks.build(
            **setup.model.model_dump(),
            classes=dataset.classes,
            bn_group=setup.bn_group,
            dtype=jnp.bfloat16 if setup.precision == "bfloat16" else None,
            layout=layout,
        )
        self.loss = LOSSES[setup.loss]
        self._mean = jnp.asarray(dataset.mean)
        self._inverse_std = jnp.asarray(1 / np.maximum(dataset.std, 1e-6), jnp.float32)

    def initial(self, hyper: Hyper) -> State:
        """State before the first step: random weights, velocity or moments 0."""
        params = networks.initialize(
            self.module,
            stream(hyper.seed, "init"),
            (1, *self.dataset.train_images.shape[1:]),
            sigma_w=hyper.sigma_w,
            sigma_b=self.setup.sigma_b,
        )
        zeros = jax.tree.map(jnp.zeros_like, params)
        if self.setup.optimizer != "sgd":
            return State(params, (zeros, zeros))
        return State(params, zeros if self.setup.momentum else None)

    def order(self, hyper: Hyper, epoch: jax.Array) -> jax.Array:
        """Order of the training examples in one epoch, int32 ``[examples]``."""
        if self.full_batch:
            return jnp.arange(self.examples)
        return jax.random.permutation(jax.random.fold_in(stream(hyper.seed, "order"), epoch), self.examples)

    def indices(self, order: jax.Array, step: jax.Array) -> jax.Array:
        """Which training examples the batch of a step consists of, int32 ``[batch]``."""
        first = (step % self.steps_per_epoch) * self.setup.batch
        return order[(first + jnp.arange(self.setup.batch)) % self.examples]

    def step(self, state: State, hyper: Hyper, batch: Batch) -> State:
        """One update of parameters and memory, the equation at the top of this module."""
        x, y = self.inputs(hyper, batch)
        grads = jax.grad(lambda params: jnp.mean(self.loss(self.logits(params, x, True), y)))(state.params)
        descent, memory = self._descent(grads, state, hyper.l2, batch.step)
        eta = self.learning_rate(hyper, batch.step)
        return State(jax.tree.map(lambda p, d: p - eta * d, state.params, descent), memory)

    def learning_rate(self, hyper: Hyper, step: jax.Array | np.int32) -> jax.Array:
        """η_t, by the schedule of the setup."""
        if isinstance(self.setup.schedule, CosineSchedule):
            return hyper.eta * schedules.cosine(step, hyper.steps)
        return hyper.eta * schedules.stepwise(step, hyper.decays, hyper.factor)

    def elapsed(self, hyper: Hyper, step: jax.Array | np.int32) -> jax.Array:
        """∫η dt / η₀ before a step, rounded down to int32: the number of steps without a schedule."""
        if isinstance(self.setup.schedule, CosineSchedule):
            return schedules.cosine_sum(step, hyper.steps)
        return schedules.stepwise_sum(step, hyper.decays, hyper.factor)

    def _descent(
        self, grads: Any, state: State, l2: jax.Array, step: jax.Array | np.int32
    ) -> tuple[Any, Any]:
        """What η is multiplied by, and the memory after the step."""
        if self.setup.optimizer == "adamw":
            scaled, moments = adam(grads, state.memory, step)
            return add_l2(scaled, state.params, l2, self._decayed(state.params)), moments
        grads = add_l2(grads, state.params, l2, self._decayed(state.params))
        if self.setup.optimizer == "adam":
            return adam(grads, state.memory, step)
        if state.memory is None:
            return grads, None
        momentum = jnp.float32(self.setup.momentum)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, state.memory, grads)
        return velocity, velocity

    def _decayed(self, params: Any) -> Any:
        """Which parameters L2 acts on, a bool for every leaf; None: on all."""
        if self.setup.l2_on == "all":
            return None
        wanted = self.setup.l2_on == "scale_invariant"
        return jax.tree.map(lambda found: found == wanted, networks.scale_invariant(self.module, params))

    def measure(
        self,
        rule: AutoL2,
        measured_on: Measure,
        clock: PauseClock,
        controller: AutoL2State,
        state: State,
        hyper: Hyper,
        batch: Batch,
        subset: Examples,
    ) -> AutoL2State:
        """AutoL2's measurement before the step of ``batch``, on that minibatch or on a fixed subset (SM E).

        Its pauses are counted in steps, or in :meth:`elapsed`.
        """
        if measured_on == "minibatch":
            x, y = self.inputs(hyper, batch)
            logits = self.logits(state.params, x, True)
        else:
            x, y = self.normalise(subset[0]), self.one_hot(subset[1])
            logits = self.logits(state.params, x, False)
        error = 1 - jnp.mean(correct(logits, y))
        time = batch.step if clock == "steps" else self.elapsed(hyper, batch.step)
        return rule.update(controller, time, jnp.mean(self.loss(logits, y)), error)

    def inputs(self, hyper: Hyper, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Network inputs and targets of a batch, augmented where the setup says so."""
        x, y = self.normalise(batch.images), self.one_hot(batch.labels)
        if self.setup.augment:
            crop_key, mix_key = jax.random.split(
                jax.random.fold_in(stream(hyper.seed, "augment"), batch.step)
            )
            x, y = mixup(mix_key, flip_and_crop(crop_key, x), y)
        if self.mesh is not None:
            sharding = NamedSharding(self.mesh, PartitionSpec("data"))
            x, y = jax.lax.with_sharding_constraint((x, y), sharding)
        return x, y

    def normalise(self, images: jax.Array) -> jax.Array:
        """Images with mean 0 and variance 1 in every channel of the training set, float32."""
        return (images.astype(jnp.float32) * jnp.float32(1 / 255) - self._mean) * self._inverse_std

    def one_hot(self, labels: jax.Array) -> jax.Array:
        """Targets ``[batch, classes]``."""
        return jax.nn.one_hot(labels, self.dataset.classes)

    def logits(self, params: Any, x: jax.Array, train: bool) -> jax.Array:
        """Outputs of the network, float32 ``[batch, classes]``."""
        return self.module.apply({"params": params}, x, train=train).astype(jnp.float32)
