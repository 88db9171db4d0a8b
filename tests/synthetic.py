"""Fake results that obey the paper's laws exactly, for tests of everything downstream of training.

The law: with ``u = t η λ / c`` test accuracy rises as ``chance + (A(λ) - chance) min(u, 1)^rise`` and
falls by up to ``fall`` after its peak at ``u = 1``; ``A(λ) = plateau - penalty * λ``. So t* = c/(ηλ) up to
the evaluation grid, accuracy at T ∝ 1/λ has a plateau, and the best λ within a budget T is about c/(ηT).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics.results.tables import BLOCKS, COLUMNS, METRICS, Results

_SIZES: dict[str, Any] = {
    "source": "sample",
    "version": "3.0.1",
    "train": 512,
    "test": 2000,
    "image_size": 28,
}


def evaluation_steps(steps: int, points: int = 40) -> np.ndarray:
    """Step 0 and log-spaced steps up to the last."""
    return np.unique(np.concatenate([[0], np.rint(np.geomspace(1, max(steps, 1), points)).astype(int)]))


def run_rows(
    *,
    eta: float,
    l2: float,
    seed: int,
    budget: float,
    c: float = 0.7,
    steps_per_epoch: int = 1,
    group: str = "grid",
    sigma_w: float = 1.0,
    plateau: float = 0.8,
    penalty: float = 0.0,
    rise: float = 0.3,
    fall: float = 0.05,
    unregularised: float = 0.03,
    noise: float = 0.0,
    train1: float = 5.0,
    loss_rises: bool = False,
    diverge_at: int | None = None,
    accuracy: np.ndarray | None = None,
    tag: str = "",
    points: int = 40,
) -> pd.DataFrame:
    """Rows of one run; ``c`` is t* η λ in epochs, ``train1`` the time to training accuracy 1 times η."""
    steps = evaluation_steps(round(budget * steps_per_epoch), points)
    epoch = steps / steps_per_epoch
    rng = np.random.default_rng([seed, int(1e6 * eta), int(1e7 * l2)])
    if accuracy is None:
        # λ=0 saturates below the plateau on the time scale of interpolation.
        u = epoch * eta * l2 / c if l2 > 0 else epoch * eta / (4 * train1)
        top = plateau - penalty * l2 - (0.0 if l2 > 0 else unregularised)
        after = fall * (1 - 1 / np.maximum(u, 1)) if l2 > 0 else 0.0
        accuracy = 0.1 + (top - 0.1) * np.minimum(u, 1.0) ** rise - after
        accuracy = accuracy + noise * rng.normal()
    fitted = np.minimum(1.0, epoch * eta / train1)
    fitted = np.where(fitted > 0.999, 1.0, fitted)
    loss = 0.1 * np.exp(-epoch * eta / train1) + 1e-4
    if loss_rises and l2 > 0:
        loss = loss + 0.05 * np.minimum(1.0, epoch * eta * l2 / c) ** 2
    frame = pd.DataFrame(
        {
            "run": f"{group}-eta{eta:g}-l2{l2:g}-sw{sigma_w:g}-T{budget:g}-s{seed}{tag}",
            "group": group,
            "eta": eta,
            "l2": l2,
            "seed": seed,
            "sigma_w": sigma_w,
            "budget": float(budget),
            "step": steps,
            "epoch": epoch,
            "train_loss": loss,
            "train_accuracy": 0.1 + 0.9 * fitted,
            "test_loss": 0.12 - 0.1 * accuracy,
            "test_accuracy": accuracy,
            "l2_norm": 30.0 * np.exp(-epoch * eta * l2) + 5.0,
        }
    )
    if diverge_at is not None:
        frame.loc[frame["step"] >= diverge_at, list(METRICS)] = np.nan
    return in_blocks(frame)


def in_blocks(table: pd.DataFrame, images: int = _SIZES["test"]) -> pd.DataFrame:
    """The table with the correct images of every block that its test accuracies stand for."""
    correct = np.rint(table["test_accuracy"] * images)
    share = np.arange(len(BLOCKS))
    counts = (correct.to_numpy()[:, None] + share) // len(BLOCKS)
    return table.assign(**dict(zip(BLOCKS, counts.T, strict=True)))[
        [*COLUMNS, *(name for name in table if name not in COLUMNS)]
    ]


def grid(
    etas: Iterable[float],
    l2s: Sequence[float],
    seeds: Iterable[int],
    *,
    horizon: float,
    zero: float = 100.0,
    **law: Any,
) -> pd.DataFrame:
    """A sweep with T = horizon/(ηλ) epochs; λ=0 runs last ``zero``/η epochs."""
    seeds = tuple(seeds)
    return pd.concat(
        [
            run_rows(eta=eta, l2=l2, seed=seed, budget=horizon / (eta * l2) if l2 else zero / eta, **law)
            for eta in etas
            for l2 in l2s
            for seed in seeds
        ],
        ignore_index=True,
    )


def passport(name: str, table: pd.DataFrame, **extra: Any) -> dict[str, Any]:
    """A passport with every key of the real one."""
    setups = {"fc": "fc", "cnn": "cnn", "wrn": "wrn", "resnet": "resnet", "measure": "fc", "autol2": "wrn"}
    kind = setups.get(name.split("_")[0], "fc")
    return {
        "name": name,
        "scale": "laptop",
        "data": {"name": "mnist" if kind == "fc" else "cifar10", **_SIZES},
        "setup": _setup(kind, name),
        "config": {},
        "seeds": sorted(int(seed) for seed in table["seed"].unique()),
        "runs": int(table["run"].nunique()),
        "diverged": int(table[table["train_loss"].isna()]["run"].nunique()),
        "steps_per_epoch": 1,
        "classes": 10,
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {"python": "3.11.9", "jax": "0.10.2", "numpy": "2.4.6", "l2dynamics": "0.1.0"},
        "xla_flags": "",
        "device": "cpu",
        "cores": 2,
        "wall_seconds": 12.5,
        "pure_step_seconds": 10.0,
        "status": "done",
        "key": "k" * 16,
        "csv_sha256": "0" * 64,
        **extra,
    }


def results(name: str, table: pd.DataFrame, **extra: Any) -> Results:
    return Results(name, table, passport(name, table, **extra))


def autol2(name: str, *, wins: bool, budget: float = 50.0, seeds: Sequence[int] = (0, 1, 2)) -> Results:
    """Constant λ against AutoL2: the adaptive runs end 0.01 above or below the tuned constant λ."""
    frames = []
    for seed in seeds:
        for l2 in (1e-4, 1e-3, 1e-2):
            law = {"c": 0.01, "plateau": 0.7, "penalty": 2.0}
            frames.append(run_rows(eta=0.2, l2=l2, seed=seed, budget=budget, group="constant", **law))
        scheduled = ("auto_own",) if "schedule" in name or "cosine" in name else ()
        for group in ("auto_minibatch", "auto_subset", *scheduled):
            epoch = evaluation_steps(round(budget)).astype(float)
            top = 0.7 + (0.01 if wins else -0.01) + 0.001 * seed
            curve = 0.1 + (top - 0.1) * np.minimum(1.0, epoch / (0.3 * budget)) ** 0.3
            frame = run_rows(eta=0.2, l2=0.1, seed=seed, budget=budget, group=group, accuracy=curve)
            frame["l2"] = np.where(
                frame["epoch"] > budget / 2, 0.001, np.where(frame["epoch"] > 5, 0.01, 0.1)
            )
            frames.append(frame)
    return results(name, pd.concat(frames, ignore_index=True), classes=10)


def _setup(kind: str, name: str) -> dict[str, Any]:
    moving = kind in ("wrn", "resnet") and name != "wrn"
    return {
        "model": {"kind": kind, "width": 256, "depth": 3},
        "loss": "mse" if name == "fc_mse" else "softmax",
        "batch": 512,
        "momentum": 0.9 if moving else 0.0,
        "augment": moving,
        "schedule": {"factor": 0.2, "at": [0.3, 0.6, 0.9]} if "schedule" in name else None,
    }


def measure_c(c: Mapping[str, float] | None = None) -> Results:
    """Short runs at large λ, with the measured c in epochs at fixed η."""
    c = dict(c or {"fc": 0.7 / 0.15, "cnn": 5.0, "wrn": 0.01})
    per_epoch = {"fc": 1, "cnn": 20, "wrn": 20}
    etas = {"fc": 0.15, "cnn": 0.01, "wrn": 0.2}
    frames, measured = [], {}
    for setup, value in c.items():
        per_run = []
        for l2 in (0.01, 0.02):
            for seed in (0, 1, 2):
                rows = run_rows(
                    eta=etas[setup],
                    l2=l2,
                    seed=seed,
                    budget=4 * value / l2,
                    c=value * etas[setup],
                    steps_per_epoch=per_epoch[setup],
                )
                frames.append(rows.assign(run=rows["run"] + f"-{setup}", setup=setup))
                star = value / l2 * (1 + 0.05 * (seed - 1))
                per_run.append({"l2": l2, "seed": seed, "t_star": star, "c": star * l2})
        measured[setup] = {
            "c": value,
            "low": 0.9 * value,
            "high": 1.1 * value,
            "eta": etas[setup],
            "unit": "epochs",
            "per_run": per_run,
        }
    setups = {setup: _setup(setup, f"{setup}_momentum") for setup in c}
    datasets = {setup: {"name": "mnist" if setup == "fc" else "cifar10", **_SIZES} for setup in c}
    table = pd.concat(frames, ignore_index=True)
    return results("measure_c", table, c=measured, setup=setups, datasets=datasets)


def everything() -> dict[str, Results]:
    """One fake of every results file the claims and the report read; the paper's laws hold in all of them."""
    seeds = (0, 1)
    fc_etas, fc_l2s = (0.15, 0.5, 1.5), (0.0, 1e-4, 1e-3, 5e-3, 0.01, 0.05)
    out: dict[str, Results] = {}
    fc_law = {"horizon": 2.0, "c": 0.7, "penalty": 2.0}
    out["fc"] = results("fc", grid(fc_etas, fc_l2s, seeds, noise=0.001, **fc_law))
    out["fc_mse"] = results("fc_mse", grid(fc_etas, fc_l2s, seeds, loss_rises=True, **fc_law))
    small_l2s = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03)
    out["fc_small"] = results("fc_small", _under_parametrised(small_l2s, seeds))
    conv_l2s = (0.0, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.05)
    for name in ("cnn", "cnn_bn"):
        law = {"horizon": 0.2, "c": 0.05, "zero": 20.0, "steps_per_epoch": 20, "plateau": 0.5, "penalty": 3.0}
        out[name] = results(name, grid((0.01,), conv_l2s, seeds, **law), steps_per_epoch=20)
    law = {"horizon": 0.01, "c": 0.002, "steps_per_epoch": 20, "plateau": 0.6, "penalty": 5.0, "train1": 2.0}
    out["wrn"] = results("wrn", grid((0.1, 0.2, 0.4), conv_l2s, seeds, zero=5.0, **law), steps_per_epoch=20)
    out["wrn_aug"] = results("wrn_aug", _predicted(conv_l2s, seeds), steps_per_epoch=20)
    out["wrn_schedule"] = results("wrn_schedule", _schedule(seeds), steps_per_epoch=20)
    sigma = [
        run_rows(
            eta=0.2, l2=l2, seed=seed, budget=0.1 / l2, group="scaled", sigma_w=sigma_w, c=0.002, noise=0.002
        )
        for sigma_w in (0.5, 1.0, 2.0)
        for l2 in (1e-3, 5e-3)
        for seed in seeds
    ]
    out["wrn_sigma"] = results("wrn_sigma", pd.concat(sigma, ignore_index=True))
    out["resnet"] = results("resnet", _under_parametrised_resnet(seeds))
    out["measure_c"] = measure_c()
    for name in ("autol2_wrn", "autol2_fc", "autol2_cnn", "autol2_cnn_bn"):
        out[name] = autol2(name, wins=True)
    for name in ("wrn_schedule", "wrn_cosine", "cnn_bn_schedule", "cnn_bn_cosine"):
        out[f"autol2_{name}"] = autol2(f"autol2_{name}", wins=False)
    for name in ("cnn_bn_l2_all", "cnn_bn_l2_invariant", "cnn_bn_l2_others"):
        law = {"horizon": 0.2, "c": 0.05, "steps_per_epoch": 20, "plateau": 0.5, "penalty": 3.0}
        table = grid((0.01, 0.04, 0.16), (0.0, 1e-3, 4e-3, 1.6e-2), seeds, **law)
        time = np.minimum(table["eta"] * table["l2"] * table["step"], 0.02)
        norms = {f"log_norm_Conv_{k}": -(1 - 0.1 * k) * time for k in range(3)}
        out[name] = results(name, table.assign(**norms), steps_per_epoch=20)
    for name in ("cnn_bn_adamw", "cnn_bn_adam"):
        law = {"c": 0.05, "steps_per_epoch": 20, "plateau": 0.5, "penalty": 0.01}
        runs = [
            run_rows(eta=eta, l2=l2, seed=seed, budget=200.0, **law)
            for eta in (0.001, 0.004)
            for l2 in (0.0, 0.01, 0.1, 1.0, 10.0)
            for seed in seeds
        ]
        out[name] = results(name, pd.concat(runs, ignore_index=True), steps_per_epoch=20)
    out["fc_minibatch"] = results("fc_minibatch", grid((0.15, 1.5), fc_l2s, seeds, noise=0.001, **fc_law))
    law = {"horizon": 0.2, "c": 0.05, "zero": 20.0, "plateau": 0.5, "penalty": 3.0}
    out["cnn_bn_full"] = results("cnn_bn_full", grid((0.01,), conv_l2s, seeds, **law))
    return out


def _predicted(l2s: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    law: dict[str, Any] = {"c": 0.002, "plateau": 0.6, "penalty": 3.0, "steps_per_epoch": 20}
    frames = [run_rows(eta=0.2, l2=l2, seed=seed, budget=40.0, **law) for l2 in l2s for seed in seeds]
    for budget in (5.0, 10.0, 20.0, 40.0):
        for group, factor in (("predicted", 1.0), ("predicted_double", 2.0)):
            l2 = factor * 0.01 / budget
            frames += [
                run_rows(eta=0.2, l2=l2, seed=seed, budget=budget, group=group, **law) for seed in seeds
            ]
    return pd.concat(frames, ignore_index=True)


def _schedule(seeds: Sequence[int]) -> pd.DataFrame:
    frames = []
    for seed in seeds:
        for l2 in (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.02):
            fixed = 0.6 - 0.05 * np.log10(l2 / 1e-3) ** 2
            for group, budget, top in (("fixed", 20.0, fixed), ("scaled", 0.02 / l2, 0.6 - 2.0 * l2)):
                epoch = evaluation_steps(round(budget * 20)) / 20
                curve = 0.1 + (top + 0.001 * seed - 0.1) * (epoch / budget) ** 0.3
                frames.append(
                    run_rows(
                        eta=0.2,
                        l2=l2,
                        seed=seed,
                        budget=budget,
                        group=group,
                        accuracy=curve,
                        steps_per_epoch=20,
                    )
                )
    return pd.concat(frames, ignore_index=True)


def _under_parametrised(l2s: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """Best λ is 3e-3; below it t* no longer grows."""
    frames = []
    for l2 in l2s:
        for seed in seeds:
            effective = max(l2, 3e-3)
            budget = 2.0 / (0.1 * max(l2, 1e-4))
            epoch = evaluation_steps(round(budget)).astype(float)
            u = epoch * 0.1 * effective / 0.7
            top = 0.4 - 0.03 * abs(np.log10(max(l2, 1e-4) / 3e-3)) + 0.001 * seed
            curve = 0.1 + (top - 0.1) * np.minimum(u, 1.0) ** 0.3 - 0.03 * (1 - 1 / np.maximum(u, 1))
            frames.append(run_rows(eta=0.1, l2=l2, seed=seed, budget=budget, accuracy=curve))
    return pd.concat(frames, ignore_index=True)


def _under_parametrised_resnet(seeds: Sequence[int]) -> pd.DataFrame:
    """Panel a: accuracy depends on ηλ only. Panel b: small λ never catches up."""
    frames = []
    for seed in seeds:
        for eta in (0.1, 0.2, 0.4):
            for l2 in (1e-4, 2e-4, 4e-4, 1e-3):
                top = 0.5 - 0.05 * np.log10(eta * l2 / 8e-5) ** 2
                epoch = evaluation_steps(100).astype(float)
                curve = 0.1 + (top - 0.1) * (epoch / 100) ** 0.3
                frames.append(run_rows(eta=eta, l2=l2, seed=seed, budget=100.0, accuracy=curve))
        for l2 in (1e-5, 1e-4, 1e-3):
            for budget in (50.0, 100.0, 200.0):
                top = 0.5 - 0.04 * abs(np.log10(l2 / 1e-3)) + 0.01 * np.log2(budget / 50)
                epoch = evaluation_steps(round(budget)).astype(float)
                curve = 0.1 + (top - 0.1) * (epoch / budget) ** 0.3
                frames.append(
                    run_rows(eta=0.1, l2=l2, seed=seed, budget=budget, group="budget", accuracy=curve)
                )
    return pd.concat(frames, ignore_index=True)
