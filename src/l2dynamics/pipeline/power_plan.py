"""What the runs of a scale can decide (``l2dynamics plan --power``), before anyone starts them and after.

Before, the scatter of log t* and the share of images on which two networks differ are those of the runs of other scales
so far: σ = 0.4 for one seed, d = 0.15. After, every claim that is not decided has what would decide it, by the
variances measured in its own runs.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from l2dynamics import paths
from l2dynamics.analysis import power
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import evaluation
from l2dynamics.claims.times import MARGIN
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.pipeline import cost

SCATTER = 0.4
"""Standard deviation of log t* of one seed at one λ."""
TEST_IMAGES = {"mnist": 10_000, "cifar10": 10_000, "imagenet2012": 50_000}
DISAGREEMENT = 0.15
"""Share of the test images on which two networks of equal accuracy differ."""
LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Reach:
    """What a stage can decide.

    Attributes:
        stage: of the DAG.
        seeds: fewest of a grid point at the η with most λ > 0.
        l2s: λ > 0 there.
        decades: of these.
        images: test images.
        slope: half width of the 90 % interval of the exponent of t* on λ; NaN with fewer than three λ.
        difference: difference of two accuracies that is found with a power of 80 %, from the images alone.
        evaluations: per decade of steps.
        evaluations_needed: below which their distance adds more than a tenth to the scatter of log t*.
    """

    stage: str
    seeds: int
    l2s: int
    decades: float
    images: int
    slope: float
    difference: float
    evaluations: int
    evaluations_needed: int

    @property
    def enough(self) -> bool:
        """Whether the interval of an exponent of −1 fits into the margin of claims 01 and 02."""
        return self.slope <= MARGIN


def reach(root: Path, scale: str) -> list[Reach]:
    """What every training stage of a scale with constant λ > 0 can decide.

    Raises:
        ConfigError: a section cannot be used.
    """
    return [
        _of(stage, section, specs)
        for stage, section, specs in cost.stages(root, scale)
        if any(spec.l2 for spec in specs)
    ]


def undecided(root: Path, scale: str) -> dict[str, str]:
    """What would decide the claims that the runs of a scale leave open, by id; empty without claims.

    Raises:
        ValueError: the claims are damaged.
    """
    folder = paths.claims(root, scale)
    if not any(folder.glob("*.json")):
        return {}
    return {
        id: str(record["power"]) or f"no number of runs: {record['reason']}"
        for id, record in evaluation.read(folder).items()
        if id.isdigit() and record["verdict"] == Verdict.UNDECIDED
    }


def _of(stage: str, section: cost.Section, specs: Sequence[RunSpec]) -> Reach:
    points = dict(_points(specs))
    eta = max({eta for eta, _ in points}, key=lambda one: sum(at == one for at, _ in points))
    l2s = sorted(l2 for at, l2 in points if at == eta)
    seeds = min(points[eta, l2] for l2 in l2s)
    decades = math.log10(l2s[-1] / l2s[0])
    scatter = SCATTER / math.sqrt(seeds)
    slope = math.nan
    if len(l2s) >= 3:
        slope = float(stdtrit(len(l2s) - 2, 0.95)) * power.slope_se(scatter, decades, len(l2s))
    data = section.setup.data
    images = data.test or TEST_IMAGES[data.name]
    normal = NormalDist()
    factor = normal.inv_cdf(0.5 + LEVEL / 2) + normal.inv_cdf(POWER)
    return Reach(
        stage,
        seeds,
        len(l2s),
        decades,
        images,
        slope,
        factor * power.paired_se(DISAGREEMENT, images),
        section.evaluations_per_decade,
        power.evaluations_needed(scatter),
    )


def _points(specs: Sequence[RunSpec]) -> Iterator[tuple[tuple[float, float], int]]:
    """Grid points (η, λ > 0) of constant λ and how many seeds each has."""
    seeds: dict[tuple[float, float], set[int]] = {}
    for spec in specs:
        if spec.l2 and not spec.group.startswith("predicted"):
            seeds.setdefault((spec.eta, spec.l2), set()).add(spec.seed)
    return ((point, len(found)) for point, found in seeds.items())


def power_command(*, scale: str, as_json: bool) -> None:
    """Print what the runs of a scale can decide, as a table or as JSON."""
    root = paths.find_root()
    found, missing = reach(root, scale), undecided(root, scale)
    if as_json:
        rows = [{name: _plain(value) for name, value in asdict(one).items()} for one in found]
        print(json.dumps({"scale": scale, "stages": rows, "undecided": missing}, indent=2))
        return
    table = Table(
        title=f"Scale {scale}: what its runs can decide (σ of log t* {SCATTER:g} a seed, "
        f"{DISAGREEMENT:.0%} of the images differ)"
    )
    columns = ("stage", "seeds", "λ", "decades", "images", "exponent ±", "accuracy ±", "evaluations/decade")
    for column in columns:
        table.add_column(column, justify="left" if column == "stage" else "right")
    for one in found:
        few = one.evaluations < one.evaluations_needed
        table.add_row(
            one.stage,
            str(one.seeds),
            str(one.l2s),
            f"{one.decades:.1f}",
            f"{one.images:,}",
            "–" if math.isnan(one.slope) else f"{one.slope:.2f}" + ("" if one.enough else " (wide)"),
            f"{one.difference:.4f}",
            f"{one.evaluations}" + (f" (of {one.evaluations_needed})" if few else ""),
        )
    Console().print(table)
    print(
        f"exponent ±: half of the 90 % interval; claims 01 and 02 want at most {MARGIN:g}. accuracy ±: difference "
        f"found in {POWER:.0%} of the cases at {LEVEL:.0%}, from the choice of the images alone."
    )
    for id, needs in missing.items():
        print(f"{id} is not decided: {needs}")


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
