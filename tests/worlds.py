"""Results in which every claim of the paper holds, at the sizes that the criteria ask for, with noise.

Each function makes the results of one sweep and takes what breaks its law. Evaluations lie on one grid of steps for all
runs, so that they can be compared within any budget.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import synthetic

from l2dynamics.claims import beyond, weights
from l2dynamics.results.tables import BLOCKS, COLUMNS, Results, block_sizes

IMAGES = 10_000
SEEDS = (0, 1, 2, 3)
PER_DECADE = 24
Law = Callable[[np.ndarray], np.ndarray]
"""From steps to accuracies."""


def steps_until(last: float) -> np.ndarray:
    """Step 0, the common grid, and the last step."""
    last = round(last)
    grid = np.rint(10 ** (np.arange(0, PER_DECADE * 7) / PER_DECADE))
    return np.unique(np.concatenate([[0], grid[grid < last], [last]])).astype(int)


def rise(u: np.ndarray, top: float, fall: float = 0.05) -> np.ndarray:
    """Accuracy that reaches ``top`` at u = 1 and then falls by up to ``fall``."""
    return 0.1 + (top - 0.1) * np.minimum(u, 1.0) ** 0.3 - fall * (1 - 1 / np.maximum(u, 1))


def run(
    accuracy: Law,
    *,
    eta: float,
    l2: float,
    seed: int,
    steps: float,
    group: str = "grid",
    sigma_w: float = 1.0,
    per_epoch: int = 1,
    train: Law | None = None,
    loss: Law | None = None,
    images: int = IMAGES,
    tag: str = "",
) -> pd.DataFrame:
    """Rows of one run.

    Noise: of the seed in all of its runs (0.002), of the run (0.001), and of each seed on each block, the same in all
    of its runs.
    """
    at = steps_until(steps)
    own = np.random.default_rng([seed, 7])
    sizes = block_sizes(images)
    truth = np.clip(accuracy(at.astype(float)), 0.0, 1.0)
    learned = np.clip((truth - 0.1) / 0.4, 0, 1)
    offset = 0.002 * own.normal()
    blocks = own.normal(size=len(BLOCKS))
    rng = np.random.default_rng([seed, round(1e7 * l2), round(1e4 * eta), round(steps)])
    run_own = 0.001 * rng.normal()
    spread = 0.5 * np.sqrt(truth * (1 - truth) / sizes[0])[:, None] * blocks
    jitter = 0.1 * np.sqrt(truth * (1 - truth) / sizes[0])[:, None] * rng.normal(size=(len(at), len(BLOCKS)))
    shares = truth[:, None] + (learned * (offset + run_own))[:, None] + learned[:, None] * (spread + jitter)
    counts = np.clip(np.rint(shares * sizes), 0, sizes)
    test = counts.sum(axis=1) / images
    fitted = train or (lambda t: np.minimum(1.0, 0.1 + 0.9 * t * eta / 5.0))
    decay = loss or (lambda t: 0.1 * np.exp(-t * eta / 5.0) + 1e-4)
    frame = pd.DataFrame(
        {
            "run": f"{group}-{eta:g}-{l2:g}-{sigma_w:g}-{steps:g}-{seed}{tag}",
            "group": group,
            "eta": eta,
            "l2": l2,
            "seed": seed,
            "sigma_w": sigma_w,
            "budget": steps / per_epoch,
            "step": at,
            "epoch": at / per_epoch,
            "train_loss": decay(at.astype(float)),
            "train_accuracy": fitted(at.astype(float)),
            "test_loss": 0.1,
            "test_accuracy": test,
            "l2_norm": 1.0,
        }
    )
    return frame.assign(**dict(zip(BLOCKS, counts.T, strict=True)))[list(COLUMNS)]


def made(name: str, frames: Iterable[pd.DataFrame], per_epoch: int = 1, **extra: Any) -> Results:
    """Results of a name."""
    table = pd.concat(list(frames), ignore_index=True)
    passport = synthetic.passport(name, table, steps_per_epoch=per_epoch, **extra)
    passport["data"] = passport["data"] | {"test": IMAGES}
    return Results(name, table, passport)


SCHEDULES = tuple(f"autol2_{setup}" for setup in beyond.SCHEDULED)
#: η, λ, c = t* η λ in steps, steps per epoch
SWEEPS: dict[str, tuple[tuple[float, ...], np.ndarray, float, int]] = {
    "fc": ((0.05, 0.1, 0.15, 0.5, 1.5), np.geomspace(1e-4, 1e-2, 6), 0.7, 1),
    "cnn": ((0.01,), np.geomspace(1e-2, 1.0, 6), 0.5, 20),
    "cnn_bn": ((0.01,), np.geomspace(1e-2, 1.0, 6), 0.5, 20),
    "wrn": ((0.05, 0.1, 0.15, 0.2, 0.8), np.geomspace(1e-4, 1e-2, 6), 0.6, 20),
    "fc_minibatch": ((0.15,), np.geomspace(1e-4, 1e-2, 6), 0.7, 16),
    "cnn_bn_full": ((0.01,), np.geomspace(1e-2, 1.0, 6), 0.5, 1),
    # at ηλ = 0.0016 η is varied over a factor 16
    **{name: ((0.01, 0.04, 0.16), np.geomspace(1e-2, 0.64, 4), 0.5, 20) for name in weights.RESULTS},
}


def sweep(
    name: str,
    *,
    exponent: float = -1.0,
    small: float = 0.0,
    large: float = 0.02,
    zero: float = 0.77,
    per_eta: float = 0.0,
    fit: float = -1.0,
    prefactor: float = 0.0,
    flat: bool = False,
    seeds: Sequence[int] = SEEDS,
    l2s: Sequence[float] | None = None,
    etas: Sequence[float] | None = None,
    length: float = 3.0,
    zero_length: float = 1.0,
    fits: float = 1.0,
) -> Results:
    """A sweep with T ∝ 1/(ηλ) and t* ∝ λ^exponent / η.

    Args:
        name: of :data:`SWEEPS`.
        exponent: of t* on λ.
        small: what the smallest λ reaches less.
        large: what the largest λ reaches less; others in proportion.
        zero: what λ = 0 reaches; 0.8 is the plateau.
        per_eta: what a decade of η takes away.
        fit: exponent of the time to training accuracy 1 on η.
        prefactor: exponent of t* η on η.
        flat: no dependence on λ at all.
        seeds: of every run.
        l2s: other λ.
        etas: other η.
        length: of a run in its t*, if the exponent is −1.
        zero_length: of λ = 0 relative to the longest other run.
        fits: training accuracy that is reached.
    """
    own_etas, own_l2s, c, per_epoch = SWEEPS[name]
    grid, rates = np.asarray(own_l2s if l2s is None else l2s), own_etas if etas is None else etas
    middle = float(np.exp(np.log(own_l2s).mean()))
    frames = []
    for eta in rates:
        for seed in seeds:

            def trained(t: np.ndarray, eta: float = eta) -> np.ndarray:
                return np.minimum(fits, 0.1 + 0.9 * t / (5.0 * (eta / own_etas[0]) ** fit / own_etas[0]))

            for l2 in grid:
                star = c / (eta * middle) * (l2 / middle) ** exponent * (eta / own_etas[0]) ** prefactor
                top = 0.8 - large * l2 / own_l2s[-1] - per_eta * np.log10(eta / own_etas[0])
                top -= small * (l2 == grid[0])
                if flat:
                    star, top = c / (eta * own_l2s[-1]), 0.8
                law = lambda t, star=star, top=top: rise(t / star, top, 0.0 if flat else 0.05)  # noqa: E731
                frames.append(
                    run(
                        law,
                        eta=eta,
                        l2=float(l2),
                        seed=seed,
                        steps=length * c / (eta * l2),
                        per_epoch=per_epoch,
                        train=trained,
                    )
                )
            # λ = 0 has risen before the shortest run ends, so that the placebo is flat.
            saturated = lambda t: rise(t * max(own_etas) * own_l2s[-1] / c, 0.8 if flat else zero, 0.0)  # noqa: E731
            last = zero_length * length * c / (eta * grid[0])
            frames.append(
                run(saturated, eta=eta, l2=0.0, seed=seed, steps=last, per_epoch=per_epoch, train=trained)
            )
    return made(name, frames, per_epoch)


def wrn_aug(
    *,
    shift: float = 1.0,
    loss: float = 0.0,
    seeds: Sequence[int] = SEEDS,
    budgets: Sequence[int] = (1000, 2000, 5000, 10_000),
    l2s: Sequence[float] | None = None,
) -> Results:
    """Fixed T, and λ predicted from t*·λ = 1 step; the optimum truly is ``shift`` times that.

    Args:
        shift: of the optimum.
        loss: what the predicted λ reach less.
        seeds: of every run.
        budgets: steps.
        l2s: of the grid.
    """
    grid = np.geomspace(1e-5, 1e-2, 13) * max(shift, 1.0) if l2s is None else l2s
    frames = []

    def law(l2: float, less: float = 0.0) -> Law:
        # At fixed T the accuracy falls by 0.02 a decade above the optimum.
        return lambda t: rise(t * l2 / shift, 0.8 - 0.02 * np.log10(l2 / shift / 1e-5) - less, 0.05)

    for seed in seeds:
        frames += [
            run(law(float(l2)), eta=0.2, l2=float(l2), seed=seed, steps=20_000, per_epoch=20) for l2 in grid
        ]
        frames.append(
            run(lambda t: rise(t / 100, 0.757, 0.0), eta=0.2, l2=0.0, seed=seed, steps=20_000, per_epoch=20)
        )
        for budget in budgets:
            for group, times in (("predicted", 1.0), ("predicted_double", 2.0)):
                l2 = times / budget
                frames.append(
                    run(law(l2, loss), eta=0.2, l2=l2, seed=seed, steps=budget, per_epoch=20, group=group)
                )
    return made("wrn_aug", frames, 20)


def budgeted(
    name: str,
    *,
    exponent: float = -1.0,
    l2s: Sequence[float] | None = None,
    etas: Sequence[float] = (0.001, 0.002, 0.004, 0.008),
    seeds: Sequence[int] = SEEDS,
    fits: float = 1.0,
) -> Results:
    """Runs of equal length: within T steps λ ∝ (ηT)^exponent is best, t* is where it is.

    Args:
        name: of the results.
        exponent: of the optimal λ on ηT.
        l2s: of the grid.
        etas: learning rates.
        seeds: of every run.
        fits: training accuracy that is reached.
    """
    grid = np.geomspace(3e-3, 30, 17) if l2s is None else l2s
    frames = []
    for eta in etas:
        for seed in seeds:
            for l2 in (0.0, *grid):
                # Accuracy is best where η t = λ^(1/exponent), and falls by 0.02 a decade of λ.
                law = lambda t, l2=l2, eta=eta: rise(  # noqa: E731
                    eta * t * max(l2, 1e-9) ** (-1 / exponent), 0.7 - 0.02 * np.log10(max(l2, 1e-3)), 0.05
                )
                zero = lambda t: rise(t / 100, 0.65, 0.0)  # noqa: E731
                train = lambda t: np.minimum(fits, 0.1 + t / 100)  # noqa: E731
                frames.append(
                    run(
                        law if l2 else zero,
                        eta=eta,
                        l2=float(l2),
                        seed=seed,
                        steps=10_000,
                        per_epoch=16,
                        train=train,
                    )
                )
    return made(name, frames, 16)


def wrn_schedule(
    *, best: float = 2.0, seeds: Sequence[int] = SEEDS, small: float = 0.0, steps: int = 2000
) -> Results:
    """Final accuracies at fixed T, best at ``best`` times c/T₁, and at T ∝ 1/λ, on a plateau."""
    centre = best / (0.3 * steps)
    frames = []
    for seed in seeds:
        for l2 in centre * np.geomspace(0.05, 20, 11):
            top = 0.7 - 0.05 * np.log10(l2 / centre) ** 2
            law = lambda t, top=top: 0.1 + (top - 0.1) * (t / steps) ** 0.3  # noqa: E731
            frames.append(
                run(law, eta=0.2, l2=float(l2), seed=seed, steps=steps, per_epoch=20, group="fixed")
            )
        for k, l2 in enumerate((1e-4, 3e-4, 1e-3, 3e-3)):
            top = 0.7 - 2 * l2 - small * (k == 0)
            law = lambda t, top=top, l2=l2: 0.1 + (top - 0.1) * (t * l2 / 2) ** 0.3  # noqa: E731
            frames.append(run(law, eta=0.2, l2=l2, seed=seed, steps=2 / l2, per_epoch=20, group="scaled"))
    return made("wrn_schedule", frames, 20)


def wrn_sigma(
    *,
    long: float = 0.0,
    short: float = 0.05,
    fixed: float | None = None,
    within: float = 1e3,
    seeds: Sequence[int] = SEEDS,
) -> Results:
    """Final accuracies that differ over σw: at the largest λ by ``short``, at the smallest by ``long``.

    And at the smallest by ``fixed`` at a fixed T of ``within`` steps, unless it is None.
    """
    points = [("scaled", 1e-3, 2e3, long), ("scaled", 1e-2, 2e2, short)]
    points += [] if fixed is None else [("fixed", 1e-3, within, fixed)]
    frames = []
    for seed in seeds:
        for sigma in (0.5, 1.0, 2.0):
            for group, l2, steps, gap in points:
                top = 0.7 - gap * np.log2(sigma) / 2
                law = lambda t, top=top, last=steps: 0.1 + (top - 0.1) * (t / last) ** 0.3  # noqa: E731
                setting = {"eta": 0.2, "l2": l2, "seed": seed, "sigma_w": sigma}
                frames.append(run(law, **setting, steps=steps, group=group, per_epoch=20))
    return made("wrn_sigma", frames, 20)


def fc_mse(
    *,
    early: float = 0.05,
    late: float = 0.0,
    rises: bool = True,
    length: float = 4.0,
    seeds: Sequence[int] = SEEDS,
) -> Results:
    """Accuracy that differs by ``early`` a decade of η at training accuracy 1 and by ``late`` at its maximum."""
    frames = []
    for eta in (0.05, 0.15, 0.5):
        for seed in SEEDS:
            for l2 in (1e-4, 1e-3, 1e-2):

                def law(t: np.ndarray, eta: float = eta, l2: float = l2) -> np.ndarray:
                    place = np.log10(eta / 0.05)
                    begin, end = 0.4 + early * place, 0.8 + late * place
                    u = t * eta * l2 / 0.7
                    return np.where(t > 0, begin + (end - begin) * np.minimum(u, 1.0), 0.1)

                def loss(t: np.ndarray, eta: float = eta, l2: float = l2) -> np.ndarray:
                    grown = 0.05 * np.minimum(1.0, t * eta * l2 / 2) if rises else -1e-6 * t * eta * l2
                    return 0.1 * np.exp(-t * eta / 5.0) + 1e-3 + grown

                frames.append(run(law, eta=eta, l2=l2, seed=seed, steps=length / (eta * l2), loss=loss))
            flat = lambda t: rise(t / 100, 0.7, 0.0)  # noqa: E731
            frames.append(run(flat, eta=eta, l2=0.0, seed=seed, steps=length / (eta * 1e-4)))
    return made("fc_mse", frames)


def fc_small(
    *, plateau: bool = False, fits: float = 0.8, grows: float = 0.0, seeds: Sequence[int] = SEEDS
) -> Results:
    """Best at λ = 0.01; below it t* ∝ λ^grows."""
    frames = []
    for seed in seeds:
        for l2 in (0.0, *np.geomspace(1e-3, 3e-2, 7)):
            near = max(l2, 1e-3)
            star = 70.0 * (min(near, 1e-2) / 1e-2) ** grows * (1e-2 / max(near, 1e-2))
            top = 0.45 if plateau and near <= 1e-2 else 0.45 - 0.06 * abs(np.log10(near / 1e-2))
            law = lambda t, star=star, top=top: rise(t / star, top, 0.03)  # noqa: E731
            train = lambda t: np.minimum(fits, 0.1 + t / 100)  # noqa: E731
            frames.append(run(law, eta=0.1, l2=float(l2), seed=seed, steps=20 / near, train=train))
    return made("fc_small", frames)


def resnet(*, along: float = 1.0, plateau: bool = False, seeds: Sequence[int] = SEEDS) -> Results:
    """Accuracy a function of η^along · λ at fixed T; the smallest λ stays below at every T."""
    frames = []
    for seed in seeds:
        for eta in (0.1, 0.2, 0.4, 0.8):
            for l2 in (1e-4, 2e-4, 4e-4, 8e-4):
                top = 0.5 - 0.04 * np.log10(eta**along * l2 / (0.2**along * 1e-4)) ** 2
                law = lambda t, top=top: rise(t / 50, top, 0.0)  # noqa: E731
                frames.append(run(law, eta=eta, l2=l2, seed=seed, steps=100))
        for l2 in (1e-4, 1e-3):
            for steps in (100, 1000):
                top = 0.5 if plateau else 0.5 + 0.04 * np.log10(l2 / 1e-3)
                law = lambda t, top=top, steps=steps: rise(t / steps, top, 0.0)  # noqa: E731
                frames.append(run(law, eta=0.1, l2=l2, seed=seed, steps=steps, group="budget"))
    return made("resnet", frames)


def autol2(
    name: str,
    *,
    gain: float = 0.02,
    speed: float = 2.0,
    steps: int = 10_000,
    l2s: Sequence[float] = (0.0, 1e-4, 1e-3, 1e-2),
    subset: float = 0.0,
    own: float = 0.0,
    seeds: Sequence[int] = SEEDS,
) -> Results:
    """AutoL2 that reaches ``gain`` more than the best constant λ, ``speed`` times as fast; λ0 = 0.01 adds 0.01.

    In its own units, with a schedule, it reaches ``own`` more.
    """
    scheduled = name in SCHEDULES
    frames = []
    for seed in seeds:
        for l2 in l2s:
            top = 0.7 - 0.03 * abs(np.log10(max(l2, 1e-5) / 1e-3))
            law = lambda t, top=top: rise(t / steps * (1.0 if scheduled else 3.0), top, 0.0)  # noqa: E731
            frames.append(run(law, eta=0.2, l2=l2, seed=seed, steps=steps, group="constant", per_epoch=20))
        rules = [(group, start) for group in ("minibatch", "subset") for start in (0.1, 0.01)]
        for group, start in [*rules, *([("own", 0.03)] if scheduled else [])]:
            less = subset * (group == "subset") - 0.01 * (start == 0.01)
            pace = speed * (1.0 if scheduled else 3.0)
            more = own if group == "own" else gain
            law = lambda t, top=0.7 + more - less, pace=pace: rise(t / steps * pace, top, 0.0)  # noqa: E731
            one = run(
                law,
                eta=0.2,
                l2=start,
                seed=seed,
                steps=steps,
                group=f"auto_{group}",
                per_epoch=20,
                tag=f"-{start}",
            )
            one["l2"] = np.where(one["step"] > 10, start / 10, start)
            frames.append(one)
    return made(name, frames, 20)


def on_some(name: str, *, ratio: float = 1.0, **changes: Any) -> Results:
    """A sweep with L2 on some of the weights, whose angular update is ``ratio`` times √(2ηλ)."""
    found = sweep(name, **changes)
    table = found.table
    grown = (ratio**2 - 1) * table["eta"] * table["l2"] * table["step"]
    noise = 1e-3 * (table["seed"] % 3 - 1) * table["eta"] * table["l2"] * table["step"]
    layers = {"log_norm_Conv_0": grown + noise, "log_norm_Conv_1": grown - 0.5 * noise}
    return Results(name, table.assign(**layers), found.passport)


def measure_c(wrn: float = 1.0) -> Results:
    """c = t*·λ of the sweeps, in epochs; that of WRN in steps."""
    c = {"fc": 0.7 / 0.15, "cnn": 0.5 / 0.01 / 20, "wrn": wrn / 20}
    found = synthetic.measure_c(c)
    return Results(
        found.name, found.table, found.passport | {"data": found.passport["data"] | {"test": IMAGES}}
    )


def everything(**changed: Results) -> Mapping[str, Results]:
    """Results of every name that claims on training read."""
    found: dict[str, Callable[[], Results]] = {
        **{name: lambda name=name: sweep(name) for name in SWEEPS},  # type: ignore[misc]
        "wrn_aug": wrn_aug,
        "wrn_schedule": wrn_schedule,
        "wrn_sigma": wrn_sigma,
        "fc_mse": fc_mse,
        "fc_small": fc_small,
        "resnet": resnet,
        "measure_c": measure_c,
        **{
            f"autol2_{name}": lambda name=name: autol2(f"autol2_{name}")
            for name in ("wrn", "fc", "cnn", "cnn_bn")
        },  # type: ignore[misc]
        **{name: lambda name=name: autol2(name, gain=-0.02) for name in SCHEDULES},  # type: ignore[misc]
        **{name: lambda name=name: on_some(name) for name in weights.RESULTS},  # type: ignore[misc]
        **{name: lambda name=name: budgeted(name) for name in ("cnn_bn_adamw", "cnn_bn_adam")},  # type: ignore[misc]
    }
    return {name: changed[name] if name in changed else make() for name, make in found.items()}
