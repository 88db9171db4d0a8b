"""What the runs of one sweep share: the setup, how often they are evaluated, the data, the resources."""

from dataclasses import dataclass, field
from pathlib import Path

from l2dynamics.experiments.scales import Params
from l2dynamics.experiments.schema import (
    FIRST_EVALUATION,
    AutoL2Sweep,
    Controller,
    MeasureC,
    Resources,
    Sweep,
)
from l2dynamics.experiments.setup import Setup


@dataclass(frozen=True)
class Recipe:
    """One setup to train, small enough to send to a worker.

    Attributes:
        stage: where it stands in ``work/`` and on the terminal.
        setup: what is trained on what.
        evaluations_per_decade: how often a run is evaluated, per decade of steps.
        source: ``sample`` or ``tfds``.
        root: the checkout.
        controller: AutoL2's numbers, for sweeps that have it.
        bucket: runs of equal length trained side by side by vmap.
        resources: what one job takes.
        budgets: epochs at which every run is evaluated besides, for a comparison at equal times.
        first_evaluation: the step from which on it is.
    """

    stage: str
    setup: Setup
    evaluations_per_decade: int
    source: str
    root: Path
    controller: Controller | None = None
    bucket: int = 1
    resources: Resources = field(default_factory=Resources)
    budgets: tuple[float, ...] = ()
    first_evaluation: int = FIRST_EVALUATION

    @classmethod
    def of(cls, stage: str, section: Sweep | AutoL2Sweep | MeasureC, params: Params, root: Path) -> "Recipe":
        """The recipe of a section of ``scales/<scale>.yaml``."""
        predicted = section.predicted if isinstance(section, Sweep) else None
        return cls(
            stage,
            section.setup,
            section.evaluations_per_decade,
            params.data["source"],
            root,
            section.controller if isinstance(section, AutoL2Sweep) else None,
            bucket=section.bucket,
            resources=section.resources or Resources(),
            budgets=predicted.budgets if predicted else (),
            first_evaluation=section.first_evaluation,
        )
