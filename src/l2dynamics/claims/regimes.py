"""Which setups are in the regime of the paper: networks that fit their training images by SGD."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from l2dynamics.analysis import blocks, regime, selection
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.regime import Regime
from l2dynamics.claims import absent
from l2dynamics.experiments import registry
from l2dynamics.results.tables import Results

SETUPS = (
    "fc",
    "fc_mse",
    "fc_small",
    "cnn",
    "cnn_bn",
    "wrn",
    "wrn_aug",
    "cnn_bn_adamw",
    "cnn_bn_adam",
    "fc_minibatch",
    "cnn_bn_full",
)
"""Sweeps with λ = 0 at a constant learning rate, whose regime can be told."""

LIKE = {
    "wrn_schedule": "wrn_aug",
    "wrn_sigma": "wrn_aug",
    "autol2_wrn_schedule": "wrn_aug",
    "autol2_wrn_cosine": "wrn_aug",
    "autol2_cnn_bn_schedule": "cnn_bn",
    "autol2_cnn_bn_cosine": "cnn_bn",
    "cnn_bn_l2_all": "cnn_bn",
}
"""Runs whose η decays, or without λ = 0, say nothing of their regime: it is that of the same network and data."""

UNKNOWN = "the regime is not known"
"""How the reason begins where there are no runs to tell."""


def source(name: str) -> str:
    """The sweep whose λ = 0 runs tell the regime of some results: that of the same network, data and optimiser."""
    if name in LIKE:
        return LIKE[name]
    experiment = registry.find(name)
    return experiment.group if experiment is not None and experiment.kind == "autol2" else name


class Study(Mapping[str, Results]):
    """All results that claims read; a regime is measured once."""

    def __init__(self, results: Mapping[str, Results]) -> None:
        self._results = results
        self._regimes: dict[str, Regime] = {}

    def __getitem__(self, name: str) -> Results:
        """Results by name."""
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        """Names."""
        return iter(self._results)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._results)

    def regime(self, sweep: str) -> Regime:
        """The regime of a sweep, at the η of the panels that show a single one.

        Raises:
            Lacking: it has no grid, or its runs cannot be averaged.
        """
        if sweep not in self._regimes:
            absent.require(self[sweep])
            table = self[sweep].table[self[sweep].table["group"] == "grid"]
            if table.empty:
                raise Lacking("its sweep has no grid")
            self._regimes[sweep] = regime.regime(blocks.longest(selection.at_headline_eta(sweep, table)))
        return self._regimes[sweep]


def of(results: Mapping[str, Results], name: str) -> Regime:
    """Measure the regime of some results: that of their :func:`source`.

    Raises:
        Lacking: it cannot be measured.
    """
    study = results if isinstance(results, Study) else Study(results)
    return study.regime(source(name))


def outside(results: Mapping[str, Results], name: str) -> tuple[str, ...]:
    """Why some results judge nothing; empty inside the regime, and of results that have not been made."""
    if absent.is_absent(results[name]):
        return ()
    try:
        return of(results, name).reasons
    except Lacking as lack:
        return (f"{UNKNOWN}: {lack}",)


def table(results: Mapping[str, Results]) -> list[dict[str, Any]]:
    """What decides whether a setup may judge, one flat record for each of :data:`SETUPS`.

    Numbers that cannot be measured are None; ``reasons`` says why a setup judges nothing, and is empty inside the
    regime.
    """
    study = results if isinstance(results, Study) else Study(results)
    rows = []
    for name in SETUPS:
        if absent.is_absent(study[name]):
            continue
        reasons = outside(study, name)
        try:
            found = of(study, name)
            numbers = {
                "train_accuracy": found.train_accuracy,
                "fall": found.fall,
                "decades": found.decades,
                "largest_l2": max(found.plateau, default=math.nan),
                "smallest_l2": min(found.plateau, default=math.nan),
                "t_star": found.t_star,
            }
        except Lacking:
            numbers = {}
        eta = selection.headline_eta(name, study[name].table)
        rows.append({"setup": name, "eta": eta, **numbers, "reasons": list(reasons)})
    return rows
