"""How often do the rules of the claims decide, and how often wrongly? Synthetic sweeps drawn from a known truth.

``python scripts/calibrate.py`` prints the tables of docs/calibration.md (seven minutes on one core). ``--repeats N``
draws fewer or more sweeps. It trains nothing.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from l2dynamics import peaks
from l2dynamics.analysis import choice, optimum, pooling, resampling, slopes, verdicts
from l2dynamics.analysis.blocks import BLOCKS, Curves
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.analysis.slopes import Sweep
from l2dynamics.analysis.verdicts import Test, Verdict
from l2dynamics.claims import checks, judging
from l2dynamics.results.tables import block_sizes

CHANCE, BEST = 0.1, 0.75
#: Of the resampling: with 200 draws a standard error is known within 5 %, far less than its own noise at five seeds.
DRAWS = 200


@dataclass(frozen=True)
class World:
    """How a sweep is measured, and its noise (accuracies are absolute).

    Attributes:
        seeds: of every run.
        setups: over which a claim is pooled.
        images: test images.
        per_decade: evaluations per decade of time.
        common: sd of a seed's accuracy, the same in all of its runs.
        own: sd of a run's accuracy beside that.
        jitter: sd from one evaluation to the next.
        disagree: share of images on which two networks of equal accuracy differ; half of it changes from
            evaluation to evaluation.
        between: sd of the truth between setups, in the unit of the claim's number.
    """

    seeds: int = 5
    setups: int = 4
    images: int = 10_000
    per_decade: int = 12
    common: float = 0.005
    own: float = 0.003
    jitter: float = 0.004
    disagree: float = 0.15
    between: float = 0.0


def measured(
    rng: np.random.Generator, world: World, runs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[Curves]:
    """Draw the curves of grid points that share seeds and images from (steps, true accuracy) of each."""
    sizes = block_sizes(world.images)
    common = rng.normal(0, world.common, (world.seeds, 1, 1))
    shared = rng.normal(0, 1, BLOCKS)
    found = []
    for steps, truth in runs:
        # Variance of an image's being correct: part is the image's, part the network's.
        own_part = np.minimum(world.disagree / 2, truth * (1 - truth))
        image = np.sqrt((truth * (1 - truth) - own_part) / sizes[0])[None, :, None] * shared
        spread = np.sqrt(own_part / 2 / sizes[0])[None, :, None]
        shape = (world.seeds, len(steps), BLOCKS)
        images = spread * (rng.normal(0, 1, (world.seeds, 1, BLOCKS)) + rng.normal(0, 1, shape))
        run = rng.normal(0, world.own, (world.seeds, 1, 1)) + rng.normal(0, world.jitter, (*shape[:2], 1))
        # What makes networks differ fades where they have learned nothing.
        learned = np.clip((truth - CHANCE) / (BEST - CHANCE), 0, 1)[None, :, None]
        accuracy = truth[None, :, None] + image + images + learned * (common + run)
        counts = np.clip(np.rint(accuracy * sizes), 0, sizes)
        found.append(Curves(steps, counts, sizes, tuple(range(world.seeds))))
    return found


def evaluations(world: World, last: float, decades: float = 3.0) -> np.ndarray:
    """Log-spaced steps up to ``last``, the first at 10^−decades of it."""
    return np.unique(np.rint(np.geomspace(last / 10**decades, last, round(decades * world.per_decade) + 1)))


def rise(steps: np.ndarray, star: float, top: float = BEST, fall: float = 0.01) -> np.ndarray:
    """Accuracy that comes within 0.005 of ``top`` at ``star`` and then falls by ``fall`` for every factor e."""
    u = steps / star
    return (
        CHANCE
        + (top - CHANCE) * (1 - np.exp(-math.log((top - CHANCE) / 0.005) * np.sqrt(u)))
        - fall * np.log(np.maximum(u, 1))
    )


def power_law(rng: np.random.Generator, world: World, law: float, l2s: np.ndarray) -> slopes.Exponent:
    """t* ∝ λ^law; runs of at least 3 t*."""
    relative = l2s / l2s.max()
    stars = 100 * relative ** (law + rng.normal(0, world.between))
    lengths = 3 * np.maximum(stars, 100 / relative)
    runs = [
        (steps := evaluations(world, length), rise(steps, star))
        for length, star in zip(lengths, stars, strict=True)
    ]
    return exponent(rng, world, l2s, runs, lambda steps: rise(steps, 100.0, top=BEST - 0.03, fall=0.0))


def no_law(rng: np.random.Generator, world: World, creep: float, l2s: np.ndarray) -> slopes.Exponent:
    """Accuracy does not depend on λ; T ∝ 1/λ; after a fast rise it creeps up by ``creep`` for every decade of time."""

    def truth(steps: np.ndarray) -> np.ndarray:
        return rise(steps, 100.0, top=BEST - 0.1, fall=-creep / math.log(10))

    runs = [(steps := evaluations(world, length), truth(steps)) for length in 300 * l2s.max() / l2s]
    return exponent(rng, world, l2s, runs, truth)


def exponent(
    rng: np.random.Generator,
    world: World,
    l2s: np.ndarray,
    runs: Sequence[tuple[np.ndarray, np.ndarray]],
    zero: Callable[[np.ndarray], np.ndarray],
) -> slopes.Exponent:
    """Measure the exponent of one setup, and its placebo on the λ = 0 curve ``zero``."""
    steps = evaluations(world, max(at[-1] for at, _ in runs), 3 + math.log10(l2s.max() / l2s.min()))
    *curves, reference = measured(rng, world, [*runs, (steps, zero(steps))])
    sweep = Sweep(tuple(curves), np.full(len(l2s), 0.1), l2s, {0.1: reference})
    return slopes.exponent(sweep, draws=DRAWS)


def inverse(found: Sequence[slopes.Exponent]) -> Verdict:
    """Claims 01 and 02: slope −1 ± 0.25, placebo excluded."""
    mean, placebo = (
        pooling.pooled([getattr(one, part) for one in found]).mean for part in ("slope", "placebo")
    )
    difference = pooling.guarded([one.difference for one in found if one.difference])
    whole = replace(found[0], slope=mean, placebo=placebo, difference=difference)
    return over([verdicts.inverse(one) for one in found], verdicts.inverse(whole))


def over(tests: Sequence[Test], pooled: Test) -> Verdict:
    """The verdict over setups."""
    return verdicts.over_setups({str(number): test for number, test in enumerate(tests)}, pooled).verdict


def pooled_test(found: Sequence[Estimate], test: Callable[[Estimate], Test]) -> Verdict:
    """Judge one number of every setup, and its mean."""
    return over([test(one) for one in found], test(pooling.pooled(found).mean))


def estimate(world: World, statistic: resampling.Statistic) -> Estimate:
    """With as many draws as this script makes."""
    return resampling.estimate(statistic, world.seeds, draws=DRAWS)


def plateau(rng: np.random.Generator, world: World, deficit: float) -> list[Estimate]:
    """Claim 03: the smallest λ, worse by ``deficit``, minus each of the next two; T ∝ 1/λ over a decade."""
    stars = 100 * np.array([10.0, 10**0.5, 1.0])
    tops = BEST - np.array([deficit, 0, 0])
    runs = [
        (steps := evaluations(world, 3 * star), rise(steps, star, top))
        for star, top in zip(stars, tops, strict=True)
    ]
    smallest, *others = measured(rng, world, runs)

    def worse_than(other: Curves) -> resampling.Statistic:
        return lambda view: choice.best(view, [smallest]) - choice.best(view, [other])

    return [estimate(world, worse_than(other)) for other in others]


def on_plateau(found: Sequence[list[Estimate]]) -> Verdict:
    """Claim 03: both differences within ± 0.01."""

    def both(differences: Sequence[Estimate]) -> Test:
        return judging.joined([checks.equivalent("", one, 0.01) for one in differences])

    means = [pooling.pooled(differences).mean for differences in zip(*found, strict=True)]
    return over([both(differences) for differences in found], both(means))


def advantage(
    rng: np.random.Generator, world: World, gain: float, candidates: int = 6, across_seeds: bool = False
) -> Estimate:
    """The best of several λ that are equally good, minus a run that is worse by ``gain``: claims 05 and 08."""
    steps = evaluations(world, 3000.0)
    truths = [rise(steps, 1000.0)] * candidates + [rise(steps, 1000.0, BEST - gain)]
    *others, reference = measured(rng, world, [(steps, truth) for truth in truths])

    def statistic(view: View) -> np.ndarray:
        best, single = (choice.best(view, some, across_seeds=across_seeds) for some in (others, [reference]))
        return np.asarray(best - single)

    return estimate(world, statistic)


def shifted(
    rng: np.random.Generator, world: World, factor: float, above: float = 0.06
) -> list[optimum.Optimum]:
    """Claim 07: log10 of the optimum of four budgets over a decade, which truly is ``factor`` times c/T.

    The accuracy is less by 0.02 a decade below it, as measured, and by ``above`` a decade above it.
    """
    budgets = 1000 * 10 ** np.linspace(0, 1, 4)
    # The grid brackets the optimum of every budget, with three λ a decade.
    places = np.arange(-5, 8) / 3
    runs = []
    for budget in budgets:
        away = places - (math.log10(factor) + rng.normal(0, world.between))
        loss = np.minimum(np.where(away < 0, 0.02, above) * away**2, BEST - CHANCE)
        steps = evaluations(world, budget)
        runs += [(steps, rise(steps, budget / 2, BEST - x, 0.0)) for x in loss]
    curves, count = measured(rng, world, runs), len(places)
    return [
        optimum.optimum(curves[k * count : (k + 1) * count], 10**places, budget, draws=DRAWS)
        for k, budget in enumerate(budgets)
    ]


def predicted(found: Sequence[list[optimum.Optimum]]) -> Verdict:
    """Claim 07, in one setup: every optimum within a factor 10."""
    (budgets,) = found
    each = [checks.within("", one.log10_l2, -1, 1) for one in budgets]
    each = [
        check if one.bracketed else checks.blocked(check, "")
        for check, one in zip(each, budgets, strict=True)
    ]
    return judging.joined(each).verdict


def adaptive(rng: np.random.Generator, world: World, gain: float) -> tuple[Estimate, Estimate]:
    """Claim 10: AutoL2 minus the tuned of seven λ in accuracy, and log of the times to the tuned maximum − 0.005.

    Constant λ, by half decades, reach what they do at the best one or lose 0.02 a decade², and AutoL2 reaches ``gain``
    more, in half the time if ``gain`` is positive and in twice that if it is negative.
    """
    steps = evaluations(world, 3000.0)
    tops = BEST - 0.02 * np.arange(-1.5, 1.75, 0.5) ** 2
    speed = 2.0 ** np.sign(gain)
    truths = [*(rise(steps, 1000.0, top) for top in tops), rise(steps, 1000.0 / speed, BEST + gain)]
    *constant, auto = measured(rng, world, [(steps, truth) for truth in truths])
    best = constant[len(constant) // 2]

    def ahead(view: View) -> np.ndarray:
        return choice.best(view, [auto]) - choice.best(view, constant)

    def sooner(view: View) -> np.ndarray:
        level = choice.best(view, constant) - 0.005
        taken = [peaks.first_at(steps, view.accuracy(one), level) for one in (auto, best)]
        # A run that does not get there takes at least its length.
        first, second = (np.where(np.isnan(at), steps[-1], at) for at in taken)
        return np.asarray(np.log(second / first))

    return estimate(world, ahead), estimate(world, sooner)


def ahead(found: Sequence[tuple[Estimate, Estimate]]) -> Verdict:
    """Claim 10: higher accuracy and shorter time."""

    def both(pair: Sequence[Estimate]) -> Test:
        return judging.joined([checks.better("", one) for one in pair])

    means = [pooling.pooled(parts).mean for parts in zip(*found, strict=True)]
    return over([both(pair) for pair in found], both(means))


@dataclass(frozen=True)
class Scenario:
    """A truth, what should be found and what must not be.

    Attributes:
        claim: number in the list of claims.
        truth: in words.
        right: the verdict that is true; None if the truth lies on the boundary.
        wrong: verdicts that are false.
        draw: from noise and world to what is measured in one setup.
        judge: from what is measured in every setup to the verdict.
        setups: None for those of the world.
    """

    claim: str
    truth: str
    right: Verdict | None
    wrong: tuple[Verdict, ...]
    draw: Callable[[np.random.Generator, World], Any]
    judge: Callable[[Any], Verdict]
    setups: int | None = None

    def verdicts(self, world: World, repeats: int) -> Counter[Verdict]:
        """Judge so many synthetic results."""
        found: Counter[Verdict] = Counter()
        for repeat in range(repeats):
            # Worlds differ in size, not in luck.
            rng = np.random.default_rng([repeat, *self.truth.encode()])
            found[self.judge([self.draw(rng, world) for _ in range(self.setups or world.setups)])] += 1
        return found


YES, NO = Verdict.CONFIRMED, Verdict.CONTRADICTED
#: λ over 1.5 decades, as few as a setup may have.
FIVE = np.geomspace(1e-3, 10**-1.5, 5)


def scenarios() -> list[Scenario]:
    """All of them."""

    def law(
        truth: str,
        right: Verdict | None,
        wrong: tuple[Verdict, ...],
        value: float,
        between: float = 0.0,
        setups: int | None = None,
    ) -> Scenario:
        def draw(rng: np.random.Generator, world: World) -> slopes.Exponent:
            return power_law(rng, replace(world, between=between), value, FIVE)

        return Scenario("02" if setups == 2 else "01", truth, right, wrong, draw, inverse, setups)

    def flat(truth: str, right: Verdict | None, creep: float, setups: int | None = None) -> Scenario:
        def draw(rng: np.random.Generator, world: World) -> slopes.Exponent:
            return no_law(rng, world, creep, FIVE)

        return Scenario("02" if setups == 2 else "01", truth, right, (YES,), draw, inverse, setups)

    def level(truth: str, right: Verdict | None, wrong: tuple[Verdict, ...], deficit: float) -> Scenario:
        return Scenario("03", truth, right, wrong, lambda rng, w: plateau(rng, w, deficit), on_plateau)

    def against(
        truth: str, right: Verdict | None, wrong: tuple[Verdict, ...], gain: float, across: bool = False
    ) -> Scenario:
        return Scenario(
            "05",
            truth,
            right,
            wrong,
            lambda rng, w: advantage(rng, w, gain, across_seeds=across),
            lambda found: pooled_test(found, verdicts.better),
        )

    def close(truth: str, right: Verdict | None, wrong: tuple[Verdict, ...], gain: float) -> Scenario:
        # 0.10 in log-odds at the accuracy of these worlds.
        bound = 0.1 * BEST * (1 - BEST)
        return Scenario(
            "08",
            truth,
            right,
            wrong,
            lambda rng, w: advantage(rng, w, gain),
            lambda found: pooled_test(found, lambda one: verdicts.at_most(one, bound)),
        )

    def moved(
        truth: str, right: Verdict | None, wrong: tuple[Verdict, ...], factor: float, above: float = 0.06
    ) -> Scenario:
        return Scenario(
            "07", truth, right, wrong, lambda rng, w: shifted(rng, w, factor, above), predicted, setups=1
        )

    def auto(truth: str, right: Verdict | None, wrong: tuple[Verdict, ...], gain: float) -> Scenario:
        return Scenario("10", truth, right, wrong, lambda rng, w: adaptive(rng, w, gain), ahead)

    return [
        law("slope −1", YES, (NO,), -1.0),
        law("slope −1.1", YES, (NO,), -1.1),
        law("slope −1.1, between setups ± 0.1", YES, (NO,), -1.1, 0.1),
        law("slope −1.1, between setups ± 0.1, six of them", YES, (NO,), -1.1, 0.1, 6),
        law("slope −1.25, the bound", None, (YES,), -1.25),
        law("slope −0.5", NO, (YES,), -0.5),
        flat("no dependence on λ", NO, 0.0),
        flat("no dependence, accuracy creeps up 0.02 a decade", None, 0.02),
        law("slope −1, two setups", YES, (NO,), -1.0, setups=2),
        law("slope −1.25, the bound, two setups", None, (YES,), -1.25, setups=2),
        flat("no dependence, accuracy creeps up 0.02 a decade, two setups", None, 0.02, 2),
        level("equal on the plateau", YES, (NO,), 0.0),
        level("smallest λ worse by 0.01, the bound", None, (YES,), 0.01),
        level("smallest λ worse by 0.03", NO, (YES,), 0.03),
        against("λ > 0 better by 0.015", YES, (NO,), 0.015),
        against("λ > 0 better by 0.015, chosen across seeds", YES, (NO,), 0.015, True),
        against("λ > 0 equal to λ = 0", None, (YES, NO), 0.0),
        against("λ > 0 equal to λ = 0, chosen across seeds", None, (YES, NO), 0.0, True),
        moved("optimum at c/T", YES, (NO,), 1.0),
        moved("optimum at 5 c/T", YES, (NO,), 5.0),
        moved("optimum at 10 c/T, the bound, equally steep on both sides", None, (YES,), 10.0, 0.02),
        moved("optimum at 10 c/T, the bound", None, (YES,), 10.0),
        moved("optimum at 20 c/T", NO, (YES,), 20.0),
        close("predicted λ as good as tuned", YES, (NO,), 0.0),
        close("predicted λ worse by the bound", None, (YES,), 0.1 * BEST * (1 - BEST)),
        close("predicted λ worse by 0.04", NO, (YES,), 0.04),
        auto("AutoL2 equal", None, (YES, NO), 0.0),
        auto("AutoL2 better by 0.01, twice as fast", YES, (NO,), 0.01),
        auto("AutoL2 worse by 0.01, half as fast", NO, (YES,), -0.01),
    ]


def table(world: World, repeats: int, claims: Sequence[str] = ()) -> Iterator[str]:
    """Lines of a table in Markdown, as they are found."""
    yield "| claim | truth | confirmed | contradicted | not decided | wrong | decided |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for scenario in scenarios():
        if claims and scenario.claim not in claims:
            continue
        found = scenario.verdicts(world, repeats)
        wrong = sum(found[one] for one in scenario.wrong)
        decided = f"{found[scenario.right] / repeats:.0%}" if scenario.right else "–"
        shares = " | ".join(f"{found[one] / repeats:.0%}" for one in Verdict)
        yield f"| {scenario.claim} | {scenario.truth} | {shares} | {wrong / repeats:.0%} | {decided} |"


def gain(rng: np.random.Generator, world: World) -> Estimate:
    """Difference of two runs that are equally accurate, at their last evaluation."""
    steps = evaluations(world, 1000.0, 1.0)
    one, other = measured(rng, world, [(steps, rise(steps, 300.0))] * 2)
    return estimate(world, lambda view: (view.accuracy(one) - view.accuracy(other))[:, -1])


def place(rng: np.random.Generator, world: World) -> Estimate:
    """log10 of an optimum at 1, accuracy falling by 0.02 a decade on both sides."""
    return shifted(rng, world, 10.0, 0.02)[0].log10_l2


def plain(rng: np.random.Generator, world: World) -> Estimate:
    """The same with the spread of seeds and blocks drawn together as it comes, and Gaussian quantiles."""
    found = gain(rng, world)
    of_seeds, of_blocks = 1 - 1 / world.seeds, 1 - 1 / BLOCKS
    parts = found.parts
    drawn = parts.seeds * of_seeds + parts.blocks * of_blocks + parts.interaction * of_seeds * of_blocks
    return replace(found, se=math.sqrt(drawn), df=1e9)


def above_placebo(rng: np.random.Generator, world: World) -> Estimate:
    """Exponent of a creeping accuracy without a law, minus its placebo."""
    found = no_law(rng, world, 0.02, FIVE).difference
    assert found is not None
    return found


def coverage(world: World, repeats: int) -> Iterator[str]:
    """Lines of a table: the numbers of a single setup, and how often their interval holds the truth."""
    yield "| number | truth | mean | true sd | standard error | 90 % interval | 95 % interval |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    numbers: list[tuple[str, float, Callable[[np.random.Generator, World], Estimate]]] = [
        ("difference of two accuracies", 0.0, gain),
        ("difference of two accuracies, plain bootstrap", 0.0, plain),
        ("best of six equal λ minus a single one", 0.0, lambda rng, w: advantage(rng, w, 0.0)),
        (
            "the same, chosen across seeds",
            0.0,
            lambda rng, w: advantage(rng, w, 0.0, across_seeds=True),
        ),
        ("exponent of t\\*", -1.1, lambda rng, w: power_law(rng, w, -1.1, FIVE).slope),
        ("exponent of t\\*, creeping accuracy", 0.0, lambda rng, w: no_law(rng, w, 0.02, FIVE).slope),
        (
            "the same minus its placebo",
            0.0,
            above_placebo,
        ),
        ("log10 of the optimal λ", 1.0, place),
        ("the same, three times as steep above", 1.0, lambda rng, w: shifted(rng, w, 10.0)[0].log10_l2),
    ]
    for name, truth, draw in numbers:
        found = [draw(np.random.default_rng([repeat, 9]), world) for repeat in range(repeats)]
        held = [
            sum(one.low(level) <= truth <= one.high(level) for one in found) / repeats
            for level in (0.9, 0.95)
        ]
        values = [one.value for one in found]
        error = np.sqrt(np.mean([one.se**2 for one in found]))
        cells = [f"{number:.4f}" for number in (np.mean(values), np.std(values), error)]
        yield f"| {name} | {truth:g} | " + " | ".join([*cells, *(f"{share:.0%}" for share in held)]) + " |"


def noisier(world: World, factor: float) -> World:
    """The same world with more noise of seeds and evaluations; that of images is fixed by their number."""
    return replace(world, common=factor * world.common, own=factor * world.own, jitter=factor * world.jitter)


WORLDS = {
    "Three seeds": World(seeds=3),
    "Five seeds": World(seeds=5),
    "Five seeds, twice the noise": noisier(World(seeds=5), 2.0),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=60, help="synthetic results for each truth")
    parser.add_argument("--claims", nargs="*", default=[], help="numbers of claims, or intervals; none: all")
    chosen = parser.parse_args()
    for name, world in WORLDS.items():
        print(f"## {name}\n")
        for line in table(world, chosen.repeats, chosen.claims):
            print(line, flush=True)
        if not chosen.claims or "intervals" in chosen.claims:
            print()
            for line in coverage(world, chosen.repeats):
                print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
