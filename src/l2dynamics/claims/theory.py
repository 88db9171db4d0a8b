"""Claims 16, 17 and 18 of the paper: what stage ``theory`` says about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l2dynamics.claims.base import Claim
from l2dynamics.results.tables import Results

RESULTS = ("theory",)
EXPONENT_MARGIN = 0.15
DEVIATION = 0.5
DECAY_MARGIN = 0.05
# Below these nothing is judged: the theory is about wide networks, an exponent needs a range.
NARROWEST = 256
FEWEST_L2 = 5


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Judge the three claims.

    Args:
        results: with the entry ``theory``.
    """
    theory = results["theory"]
    return [_minimum(theory), _finite_width(theory), _kernel(theory)]


def theory_claims(results: Results) -> list[dict[str, Any]]:
    """Return the flat records of claims 16, 17 and 18, in this order."""
    return [claim.record() for claim in evaluate({"theory": results})]


def _claim(theory: Results, id: str, claim: str, **numbers: Any) -> Claim:
    data = theory.passport["data"]
    size = f"{data['train']} train, {data['test']} test"
    return Claim(
        id=id,
        claim=claim,
        figure="fig5",
        scale=str(theory.passport["scale"]),
        data=f"theory.json ({data['name']} even/odd, {size}, {data['source']})",
        **numbers,
    )


def _minimum(theory: Results) -> Claim:
    found = theory.passport["numbers"]["minimum"]
    table = found["table"]
    slope, local = found["exponent"]["slope"], found["local_slopes"]
    product = [row["t_k2_l2"] for row in table]
    text = (
        "Theory with k = 2 has a minimum of the empirical loss at t ∝ 1/λ and then decays; k = 1 has none. "
        "True if the "
        f"exponent of t_min against λ is −1 within {EXPONENT_MARGIN:g} over the whole range of λ and k = 1 has "
        "no minimum. "
        f"MNIST kernel, λ from {table[0]['l2']:g} to {table[-1]['l2']:g}: a minimum for k = 2 at every λ, "
        "t_min·λ from "
        f"{min(product):.3g} to {max(product):.3g}; k = 1 has {found['minima_k1']} minima. The exponent tends "
        "to −1 for λ "
        f"above the kernel's median eigenvalue (last two λ: {local[-1]:.2f}) and is shallower below it (first two: "
        f"{local[0]:.2f}), where all modes are learned before the decay begins and the minimum waits for the slowest "
        f"one. Interval: smallest and largest exponent between neighbouring λ. Judged from {FEWEST_L2} values "
        "of λ on."
    )
    return _claim(
        theory,
        "16",
        text,
        paper=-1.0,
        measured=slope,
        low=min(local),
        high=max(local),
        n=len(table),
        ok=abs(slope + 1) <= EXPONENT_MARGIN and found["minima_k1"] == 0 if len(table) >= FEWEST_L2 else None,
    )


def _finite_width(theory: Results) -> Claim:
    runs = theory.passport["numbers"]["training"]
    widest = max(one["width"] for one in runs)
    values = [one["deviation_own"]["loss"] for one in runs if one["width"] == widest]
    by_width = deviations(runs)
    falling = by_width[-1][1] < by_width[0][1]
    listed = ", ".join(f"{width}: {value:.2g}" for width, value in by_width)
    text = (
        "A finite network follows the k = 2 theory of its initial kernel until the loss minimum. True if the largest "
        f"relative deviation of the training loss up to the predicted minimum is below {DEVIATION:g} at the "
        "largest width "
        f"and smaller than at the smallest. Mean deviation by width: {listed}. Measured: largest width; "
        "interval: smallest "
        f"and largest over all widths and seeds; the largest width has {len(values)} seed(s). The threshold was set "
        f"after trial runs at smaller widths. Judged from width {NARROWEST} on."
    )
    everything = [one["deviation_own"]["loss"] for one in runs]
    measured = float(np.mean(values))
    return _claim(
        theory,
        "17",
        text,
        paper=float("nan"),
        measured=measured,
        low=min(everything),
        high=max(everything),
        n=len(runs),
        ok=measured < DEVIATION and falling if widest >= NARROWEST else None,
    )


def _kernel(theory: Results) -> Claim:
    runs = theory.passport["numbers"]["decay"]
    widest = max(one["width"] for one in runs)
    limits = {depth: infinite_width(runs, depth) for depth in sorted({one["depth"] for one in runs})}
    shown, at_widest = [], {}
    for depth, limit in limits.items():
        own = [one["ratio"] for one in runs if one["width"] == widest and one["depth"] == depth]
        at_widest[depth] = float(np.mean(own))
        shown.append(f"{depth} hidden layers: {at_widest[depth]:.3f}, {limit:.3f} extrapolated")
    close = all(abs(value - 1) <= DECAY_MARGIN for value in limits.values())
    text = (
        "The kernel of a wide network decays as exp(−2(k−1)λt) while it trains. Measured: exponent of ‖Θ_t‖ divided "
        f"by 2(k−1)λ at width {widest}, mean over depths. True if it is within {DECAY_MARGIN:g} of 1 for every depth. "
        "Interval: smallest and largest depth. "
        f"By depth: {'; '.join(shown)}. Extrapolated linearly in 1/width to infinite width, where the theorem "
        f"holds, the same criterion {'is met' if close else 'is not met either'}; that is an afterthought and does "
        f"not decide. Judged from width {NARROWEST} on."
    )
    values = list(at_widest.values())
    return _claim(
        theory,
        "18",
        text,
        paper=1.0,
        measured=float(np.mean(values)),
        low=min(values),
        high=max(values),
        n=len(runs),
        ok=all(abs(value - 1) <= DECAY_MARGIN for value in values) if widest >= NARROWEST else None,
    )


def infinite_width(runs: Sequence[Mapping[str, Any]], depth: int) -> float:
    """Extrapolate the ratio of decay exponents of one depth linearly in 1/width: corrections are O(1/n) (SM B)."""
    own = [one for one in runs if one["depth"] == depth]
    return float(np.polyfit([1 / one["width"] for one in own], [one["ratio"] for one in own], 1)[1])


def deviations(
    runs: Sequence[Mapping[str, Any]], kind: str = "deviation_own", what: str = "loss"
) -> list[tuple[int, float]]:
    """Return (width, mean deviation over seeds), by ascending width."""
    widths = sorted({one["width"] for one in runs})
    return [(w, float(np.mean([one[kind][what] for one in runs if one["width"] == w]))) for w in widths]
