"""The sections of ``scales/<scale>.yaml``: which runs of a setup, how long, and how often they are evaluated.

Times are in epochs as in the paper; one epoch is ``ceil(train / batch)`` steps.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field, model_validator

from l2dynamics.experiments.fields import (
    MAX_RUNS,
    MAX_STEPS,
    Evaluations,
    Fraction,
    NonNegative,
    NonNegatives,
    PositiveFloat,
    PositiveInt,
    Positives,
    Strict,
)
from l2dynamics.experiments.setup import Measure, Setup


class Length(Strict):
    """Epochs of a run as a function of η and λ; exactly one of the four forms.

    ``epochs``: T. ``product``: T = product / (η λ). ``inverse_l2``: T = inverse_l2 / λ.
    ``inverse_eta``: T = inverse_eta / η (for λ = 0).
    """

    epochs: PositiveFloat | None = None
    product: PositiveFloat | None = None
    inverse_l2: PositiveFloat | None = None
    inverse_eta: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one(self) -> "Length":
        if sum(value is not None for value in self.__dict__.values()) != 1:
            given = ", ".join(name for name, value in self.__dict__.items() if value is not None) or "none"
            raise ValueError(f"give exactly one of epochs, product, inverse_l2, inverse_eta, not {given}")
        return self

    def of(self, eta: float, l2: float) -> float:
        """Epochs T for learning rate ``eta`` and coefficient ``l2``; infinite where η λ vanishes."""
        if self.epochs is not None:
            return self.epochs
        if self.inverse_eta is not None:
            return self.inverse_eta / eta
        if self.product is not None:
            return self.product / (eta * l2) if eta * l2 else math.inf
        assert self.inverse_l2 is not None
        return self.inverse_l2 / l2


def _unique(name: str, values: Sequence[float] | None) -> None:
    if values is not None and len(set(values)) != len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"{name} lists a value twice: remove one {twice:g}")


def _runnable(setup: Setup, lengths: Iterator[tuple[str, float | None]], seeds: int) -> None:
    """Refuse more runs or steps than anyone means; ``lengths`` are names and epochs of the runs of one seed."""
    count = 0
    for name, epochs in lengths:
        count += epochs is not None
        if epochs is not None and not epochs * setup.steps_per_epoch() <= MAX_STEPS:
            raise ValueError(
                f"{name} needs {epochs * setup.steps_per_epoch():.2g} steps, more than {MAX_STEPS:.0e}: "
                "shorten its length, raise η·λ or set max_epochs"
            )
    if count * seeds > MAX_RUNS:
        raise ValueError(f"{count * seeds:.2g} runs are more than {MAX_RUNS}: lower seeds ({seeds:.2g})")


def _complete_length(l2: Sequence[float], length: Length, zero: Length | None) -> None:
    if 0.0 in l2 and length.epochs is None:
        if zero is None:
            raise ValueError("l2 contains 0: give its length as zero: {epochs: …} or {inverse_eta: …}")
        if zero.product is not None or zero.inverse_l2 is not None:
            raise ValueError("zero is the length of λ = 0: only epochs or inverse_eta make sense")
    if any(value > 0 for value in l2) and length.inverse_eta is not None:
        raise ValueError(
            "length: inverse_eta is for λ = 0 only (zero:): give epochs, product or inverse_l2 here"
        )


class Grid(Strict):
    """Every combination of η, λ, σw and seed, each trained for ``length`` (λ = 0: for ``zero``)."""

    # What figures and claims find the runs by.
    group: Literal["grid", "fixed", "scaled", "budget"] = "grid"
    # Learning rates η.
    eta: Positives
    # Coefficients λ.
    l2: NonNegatives
    # None: that of the setup.
    sigma_w: Positives | None = None
    # Seeds `seed`, `seed` + 1, … of params.yaml.
    seeds: PositiveInt = 1
    # How long a run is.
    length: Length
    # How long a run with λ = 0 is.
    zero: Length | None = None
    # Combinations that need more epochs than this are left out, as in the paper (Fig. 2d–f: 4000).
    max_epochs: PositiveFloat | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Grid":
        for name in ("eta", "l2", "sigma_w"):
            _unique(name, getattr(self, name))
        _complete_length(self.l2, self.length, self.zero)
        return self

    def epochs(self, eta: float, l2: float) -> float | None:
        """Length of one run in epochs, or None where ``max_epochs`` leaves it out."""
        rule = self.zero if l2 == 0 and self.zero is not None else self.length
        epochs = rule.of(eta, l2)
        left_out = self.max_epochs is not None and l2 > 0 and epochs > self.max_epochs * (1 + 1e-9)
        return None if left_out else epochs


class Predicted(Strict):
    """Runs at the predicted coefficient λ = multiple · c / T for each budget T (Figs. 1b, 4b, S3, S4)."""

    c_of: Literal["fc", "cnn", "wrn"]
    eta: PositiveFloat
    # Training budgets T in epochs; at these times all runs of the sweep are evaluated, those of the grid too.
    budgets: Positives
    multiples: tuple[Literal[1, 2], ...] = Field((1, 2), min_length=1)
    seeds: PositiveInt = 1

    @model_validator(mode="after")
    def _distinct(self) -> "Predicted":
        _unique("budgets", self.budgets)
        _unique("multiples", self.multiples)
        return self


class Resources(Strict):
    """What one job of a sweep takes: CPU cores, accelerators and memory.

    Without an accelerator the job computes on exactly ``cpus`` cores, whoever executes it: the number of threads
    decides the order of sums. Ray places the job by both numbers; a fraction of a GPU shares it among jobs.
    """

    cpus: PositiveInt = 1
    gpus: NonNegative = 0.0
    # Gigabytes that the weights, gradients and activations of a job may take: a bucket that needs more is divided.
    memory: PositiveFloat = 16.0

    @model_validator(mode="after")
    def _whole(self) -> "Resources":
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: {self.gpus:g}: a job takes a fraction of one GPU or whole ones")
        return self


FIRST_EVALUATION = 10
"""The step from which on a run is evaluated at log-spaced steps, if its section does not say."""


class Sweep(Strict):
    """One sweep: a setup, its grids and how often a run is evaluated (log-spaced steps)."""

    # What is trained.
    setup: Setup
    # How often a run is evaluated, per decade of steps: at 10^(k/n), the same steps for runs of every length.
    evaluations_per_decade: Evaluations = 12
    # The step from which on it is: somewhat before the earliest t* of the sweep.
    first_evaluation: PositiveInt = FIRST_EVALUATION
    # Which runs.
    grids: tuple[Grid, ...] = Field(min_length=1)
    # Runs at λ = c/T besides.
    predicted: Predicted | None = None
    # Runs of equal length trained side by side by vmap; pays for small fully connected nets and on accelerators.
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _bucket(self) -> "Sweep":
        if self.bucket > 1 and self.setup.model.kind != "fc":
            raise ValueError(
                f"bucket {self.bucket} is for fc models only (convolutions under vmap become grouped ones): "
                "set bucket: 1"
            )
        return self

    @model_validator(mode="after")
    def _lengths(self) -> "Sweep":
        runs = 0
        for index, grid in enumerate(self.grids):
            lengths = (
                (f"grids.{index}: η = {eta:g}, λ = {l2:g}", grid.epochs(eta, l2))
                for eta in grid.eta
                for l2 in grid.l2
            )
            _runnable(self.setup, lengths, grid.seeds * len(grid.sigma_w or (1,)))
            runs += sum(grid.epochs(eta, l2) is not None for eta in grid.eta for l2 in grid.l2)
        if not runs:
            raise ValueError("grids: max_epochs leaves every run out: raise it")
        if self.predicted is not None:
            budgets = ((f"predicted: budget {budget:g}", budget) for budget in self.predicted.budgets)
            _runnable(self.setup, budgets, self.predicted.seeds * len(self.predicted.multiples))
        return self


class Controller(Strict):
    """AutoL2 (Algorithm 1): decay factor, measurement interval in steps, refractory period in steps times λ."""

    decay: Fraction = 0.1
    every: PositiveInt = 10
    refractory: NonNegative = 0.1


class AutoL2Sweep(Strict):
    """AutoL2 against constant coefficients: same budget, same seeds."""

    setup: Setup
    # As for a sweep.
    evaluations_per_decade: Evaluations = 12
    first_evaluation: PositiveInt = FIRST_EVALUATION
    # Learning rate η of all runs.
    eta: PositiveFloat
    # Length T of all runs.
    epochs: PositiveFloat
    # The constant coefficients that AutoL2 is compared with.
    l2: NonNegatives
    seeds: PositiveInt
    controller: Controller = Controller()
    # λ0 of the AutoL2 runs (the paper: 0.1): of all for the first of ``measures``, of the first for the others.
    init_l2: Positives = (0.1,)
    # Where AutoL2 measures loss and error: on the minibatch, on a fixed training subset.
    measures: tuple[Measure, ...] = Field(("minibatch", "subset"), min_length=1)
    # Ours: λ0 of AutoL2 in its own units besides, whose refractory period is counted in ∫η dt / η₀, which a schedule of
    # η slows down, and which measures on the minibatch. None: without it.
    own_init_l2: PositiveFloat | None = None
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "AutoL2Sweep":
        _unique("l2", self.l2)
        _unique("init_l2", self.init_l2)
        if len(set(self.measures)) != len(self.measures):
            raise ValueError("measures lists a value twice: remove one")
        _runnable(self.setup, iter([(f"epochs {self.epochs:g}", self.epochs)]), self.seeds)
        return self


class MeasureC(Strict):
    """Short runs at large λ that measure c = t* λ of one setup (Section 3)."""

    setup: Setup
    # As for a sweep.
    evaluations_per_decade: Evaluations = 12
    first_evaluation: PositiveInt = FIRST_EVALUATION
    # Learning rate η.
    eta: PositiveFloat
    # Large coefficients λ: their runs are short.
    l2: Positives
    seeds: PositiveInt = 1
    length: Length
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _grid(self) -> "MeasureC":
        _unique("l2", self.l2)
        _complete_length(self.l2, self.length, None)
        lengths = ((f"η = {self.eta:g}, λ = {l2:g}", self.length.of(self.eta, l2)) for l2 in self.l2)
        _runnable(self.setup, lengths, self.seeds)
        return self


class MeasureCs(Strict):
    """The setups of stage ``measure_c``."""

    fc: MeasureC
    cnn: MeasureC
    wrn: MeasureC
