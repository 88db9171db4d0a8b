"""Which runs the figures and claims beyond the paper compare: budgets of long runs, equal runs in two batch sizes."""

import numpy as np

from l2dynamics.analysis import blocks, selection
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.optimum import Budget
from l2dynamics.results.tables import Results

SHARES = (0.1, 10**-0.5, 1.0)
"""Budgets as parts of the length of the runs, which at a constant η are the beginning of a longer one."""

Pair = dict[tuple[str, float], Curves]
"""By ``full`` or ``mini``, and λ."""


def budgets(results: Results) -> list[Budget]:
    """The runs with λ > 0 of every η within :data:`SHARES` of their length, at the nearest evaluation.

    Points of one seed are left out where others have several; all have the same seeds.

    Raises:
        Lacking: there are none, or they differ in length.
    """
    found = {point: curves for point, curves in _grid(results).items() if point[1] > 0}
    positive = blocks.several(found)
    if not positive:
        raise Lacking("every run diverged")
    lengths = {float(curves.steps[-1]) for curves in positive.values()}
    if len(lengths) != 1:
        raise Lacking(f"runs of {len(lengths)} lengths: budgets of long runs need one")
    steps = next(iter(positive.values())).steps
    steps = steps[steps > 0]
    cuts = {float(steps[np.argmin(np.abs(np.log(steps / (steps[-1] * share))))]) for share in SHARES}
    return [
        Budget(eta, cut, {l2: curves for (own, l2), curves in sorted(positive.items()) if own == eta})
        for eta in sorted({eta for eta, _ in positive})
        for cut in sorted(cuts)
    ]


def alike(full: Results, mini: Results) -> tuple[float, Pair]:
    """Runs in full batches and in minibatches at one η, by ``full`` or ``mini`` and λ: the same λ, 0 among them.

    All have the same seeds. Both runs of a λ are cut at their last common evaluation, λ = 0 each at its first from the
    longest λ > 0 on: the comparison must not favour λ > 0.

    Returns:
        η and the runs.

    Raises:
        Lacking: batches are not full, they share no η with λ = 0 and λ > 0, or λ = 0 is shorter than these.
    """
    batch, images = full.passport["setup"]["batch"], full.passport["data"]["train"]
    if batch < images:
        raise Lacking(f"batches of {batch} of {images} images are not full")
    sizes = {"full": _grid(full), "mini": _grid(mini)}
    common = set(sizes["full"]) & set(sizes["mini"])
    etas = sorted({eta for eta, l2 in common if l2 > 0 and (eta, 0.0) in common})
    if not etas:
        raise Lacking("full batches and minibatches share no η with λ = 0 and λ > 0")
    eta = max(etas, key=lambda eta: sum(1 for own, _ in common if own == eta))
    l2s = sorted((l2 for own, l2 in common if own == eta), reverse=True)
    found: Pair = {}
    longest = 0.0
    for l2 in l2s:  # λ = 0 last
        both = {size: runs[eta, l2] for size, runs in sizes.items()}
        shared = np.intersect1d(both["full"].steps, both["mini"].steps)
        if l2 > 0:
            longest = max(longest, float(shared[-1]))
        for size, one in both.items():
            late = one.steps[one.steps >= longest * (1 - 1e-9)] if l2 == 0 else shared[-1:]
            if not len(late):
                raise Lacking(f"λ = 0 is shorter than {longest:g} steps, the longest λ > 0")
            found[size, l2] = one.until(float(late[0]))
    several = blocks.several(found)
    kept = {l2 for _, l2 in several if all((size, l2) in several for size in sizes)}
    if 0.0 not in kept or len(kept) < 2:
        raise Lacking("full batches and minibatches share no two seeds with λ = 0 and λ > 0")
    return eta, {(size, l2): curves for (size, l2), curves in several.items() if l2 in kept}


def largest_start(results: Results, rule: str) -> float:
    """The largest λ₀ of the AutoL2 runs by a rule: ``minibatch``, as printed, or ``own``, in its own units.

    Raises:
        Lacking: there are none.
    """
    found = selection.starts(results, rule)
    if not found:
        raise Lacking(f"{results.file} has no AutoL2 runs by the rule {rule}")
    return max(found)


def _grid(results: Results) -> dict[tuple[float, float], Curves]:
    table = results.table[results.table["group"] == "grid"]
    if table.empty:
        raise Lacking(f"{results.file} has no runs of group grid")
    return blocks.grid(blocks.longest(table), blocks.sizes(selection.images(results)))
