"""Which setups may judge: the rule in words, and a line for each of them."""

from collections.abc import Mapping
from typing import Any

from l2dynamics import peaks
from l2dynamics.analysis import regime
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.report.words import VERDICTS, number

MAY_JUDGE = (
    "The paper speaks of networks that reach training accuracy 1. A setup judges its claims if at λ = 0 the training "
    f"accuracy reaches {regime.FITS:g} and the test accuracy does not fall by more than {peaks.EARLY:g} after its "
    "maximum (an early maximum hides what L2 does), and if t* of some λ near the best accuracy is "
    f"{regime.STEPS} steps or more (changed on 2026-11-28 from two λ of the plateau, which runs of one length do not "
    "have). The others are drawn, and judge nothing but claim 14, which is about such networks."
)


def row(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what decides whether a setup may judge, as shown."""
    smallest, largest = (record.get(end) for end in ("smallest_l2", "largest_l2"))
    span = f"{number(smallest)} … {number(largest)}" if smallest is not None else "–"
    inside = not record["reasons"]
    return {
        "setup": str(record["setup"]),
        "eta": number(record["eta"]),
        "train_accuracy": number(record.get("train_accuracy")),
        "fall": number(record.get("fall")),
        "plateau": span,
        "decades": number(record.get("decades")),
        "t_star": number(record.get("t_star")),
        "key": VERDICTS[Verdict.CONFIRMED if inside else Verdict.UNDECIDED],
        "inside": "inside" if inside else "outside: " + "; ".join(record["reasons"]),
    }
