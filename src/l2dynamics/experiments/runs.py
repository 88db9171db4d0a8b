"""From the numbers of a section to the list of runs: grids, predicted coefficients, AutoL2 runs, buckets."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from l2dynamics.experiments.fields import MAX_STEPS
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.schema import AutoL2Sweep, Grid, Length, MeasureC, Predicted, Sweep
from l2dynamics.experiments.setup import Measure, PauseClock, Setup


@dataclass(frozen=True)
class RunSpec:
    """One training run of a sweep, with a constant λ or with AutoL2.

    Attributes:
        group: what figures and claims find the run by.
        eta: learning rate η before any decay.
        l2: constant coefficient λ; None with AutoL2.
        seed: of weights, data order and augmentation.
        sigma_w: gain of the initial weights.
        epochs: length T.
        steps: the same in steps.
        measure: what AutoL2 measures on; None with a constant λ.
        init_l2: AutoL2's λ₀; None with a constant λ.
        clock: what AutoL2's pauses are counted in.
        setup: set where the results of several setups stand in one table (``measure_c``).
    """

    group: str
    eta: float
    l2: float | None
    seed: int
    sigma_w: float
    epochs: float
    steps: int
    measure: Measure | None = None
    init_l2: float | None = None
    clock: PauseClock = "steps"
    setup: str = ""

    @property
    def first_l2(self) -> float:
        """The coefficient of the first step: the constant one, or AutoL2's λ₀."""
        first = self.init_l2 if self.l2 is None else self.l2
        assert first is not None
        return first

    @property
    def slug(self) -> str:
        """Name of the run, unique in its sweep, e.g. ``grid-eta0.15-l2_0.001-T13333.3-s0``."""
        prefix = f"{self.setup}-{self.group}" if self.setup else self.group
        numbers = f"eta{self.eta:g}-l2_{self.first_l2:g}-sw{self.sigma_w:.4g}-T{self.epochs:.6g}-s{self.seed}"
        return f"{prefix}-{numbers}"

    def record(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)


def _steps(epochs: float, per_epoch: int, where: str) -> int:
    steps = max(1, round(epochs * per_epoch))
    if steps > MAX_STEPS:
        raise ConfigError(
            f"{where}: {steps:.3g} steps are more than the limit of {MAX_STEPS:.0e}: raise η·λ or set max_epochs"
        )
    return steps


def _grid(grid: Grid, setup: Setup, per_epoch: int, seed: int) -> Iterable[RunSpec]:
    for eta in grid.eta:
        for l2 in grid.l2:
            epochs = grid.epochs(eta, l2)
            if epochs is None:
                continue
            steps = _steps(epochs, per_epoch, f"η = {eta:g}, λ = {l2:g}")
            for sigma_w in grid.sigma_w or (setup.sigma_w,):
                for index in range(grid.seeds):
                    yield RunSpec(grid.group, eta, l2, seed + index, sigma_w, epochs, steps)


def _predicted(rule: Predicted, setup: Setup, per_epoch: int, seed: int, c: float) -> Iterable[RunSpec]:
    for multiple in rule.multiples:
        group = {1: "predicted", 2: "predicted_double"}[multiple]
        for budget in rule.budgets:
            steps = _steps(budget, per_epoch, f"predicted: budget {budget:g}")
            for index in range(rule.seeds):
                yield RunSpec(
                    group, rule.eta, multiple * c / budget, seed + index, setup.sigma_w, budget, steps
                )


def _distinct(specs: list[RunSpec], name: str) -> list[RunSpec]:
    """Drop repetitions of a grid point, as grids may overlap; refuse different runs of one name."""
    unique = list(dict.fromkeys(specs))
    slugs = [spec.slug for spec in unique]
    if len(set(slugs)) != len(slugs):
        twice = next(slug for slug in slugs if slugs.count(slug) > 1)
        raise ConfigError(
            f"{name}: two different runs are called {twice}: their values differ in too few digits"
        )
    if not unique:
        raise ConfigError(f"{name}: the grids contain no run: max_epochs leaves every combination out")
    return unique


def of_sweep(name: str, sweep: Sweep, per_epoch: int, seed: int, c: float | None = None) -> list[RunSpec]:
    """Runs of a sweep.

    Args:
        name: the sweep, for messages.
        sweep: its section.
        per_epoch: steps per epoch.
        seed: the first seed.
        c: measured coefficient in epochs, needed for predicted runs.

    Raises:
        ConfigError: no run, too long a run, or a measured c that is not positive.
    """
    specs = [spec for grid in sweep.grids for spec in _grid(grid, sweep.setup, per_epoch, seed)]
    if sweep.predicted is not None:
        if c is None or not (math.isfinite(c) and c > 0):
            raise ConfigError(
                f"{name}: predicted runs need c of {sweep.predicted.c_of}: run `dvc repro measure_c`"
            )
        specs += _predicted(sweep.predicted, sweep.setup, per_epoch, seed, c)
    return _distinct(specs, name)


def of_autol2(name: str, sweep: AutoL2Sweep, per_epoch: int, seed: int) -> list[RunSpec]:
    """Runs of an AutoL2 comparison: constant coefficients, then AutoL2 by each way of measuring, then in its own units.

    The first way starts from every λ0, the others from the first λ0.
    """
    steps = _steps(sweep.epochs, per_epoch, name)
    sigma_w, seeds = sweep.setup.sigma_w, range(seed, seed + sweep.seeds)
    specs = [
        RunSpec("constant", sweep.eta, l2, s, sigma_w, sweep.epochs, steps) for l2 in sweep.l2 for s in seeds
    ]
    specs += [
        RunSpec(f"auto_{measure}", sweep.eta, None, s, sigma_w, sweep.epochs, steps, measure, init_l2)
        for measure in sweep.measures
        for init_l2 in (sweep.init_l2 if measure == sweep.measures[0] else sweep.init_l2[:1])
        for s in seeds
    ]
    if (start := sweep.own_init_l2) is not None:
        own = RunSpec(
            "auto_own", sweep.eta, None, seed, sigma_w, sweep.epochs, steps, "minibatch", start, "eta"
        )
        specs += [replace(own, seed=s) for s in seeds]
    return _distinct(specs, name)


def of_measure_c(name: str, section: MeasureC, per_epoch: int, seed: int) -> list[RunSpec]:
    """Runs of one setup of stage ``measure_c``."""
    length: Length = section.length
    grid = Grid(eta=(section.eta,), l2=section.l2, seeds=section.seeds, length=length)
    specs = [replace(spec, setup=name) for spec in _grid(grid, section.setup, per_epoch, seed)]
    return _distinct(specs, name)


def buckets(specs: Sequence[RunSpec], size: int) -> list[tuple[RunSpec, ...]]:
    """Group runs that can train in lockstep (equal steps and rule), at most ``size`` each; longest first."""
    groups: dict[tuple[int, str | None, str], list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault((spec.steps, spec.measure, spec.clock), []).append(spec)
    found = [
        tuple(group[start : start + size])
        for group in groups.values()
        for start in range(0, len(group), size)
    ]
    return sorted(found, key=lambda bucket: (-bucket[0].steps * len(bucket), bucket[0].slug))
