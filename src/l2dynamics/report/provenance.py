"""Provenance of the results, from their passports: setups, machines, versions, commits and minutes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from l2dynamics import paths
from l2dynamics.figures import captions
from l2dynamics.results import tables


def read(folder: Path) -> list[dict[str, Any]]:
    """Read the passports of all results, sorted by name.

    Raises:
        ValueError: there are none, or one is no passport.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            passport = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            passport = None
        if not isinstance(passport, dict) or not {"scale", "wall_seconds", "git_commit"} <= set(passport):
            raise ValueError(f"{paths.shown(path)} is no passport: run `dvc repro {tables.stage(path.stem)}`")
        found.append({"name": path.stem, **passport})
    if not found:
        raise ValueError("results has no passports: run `dvc repro`")
    return found


def setups(passport: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return model, data and training of a results file in words; one line for each of its setups."""
    several = passport.get("setup") or {}
    if "model" in several:
        several = {"": several}
    lines = []
    for label, setup in several.items():
        if not isinstance(setup, Mapping) or "model" not in setup:
            continue
        if isinstance(setup["model"], str):  # the theory names its networks in words
            lines.append(_line(passport, setup["model"], [str(setup.get("loss", ""))]))
            continue
        data = (passport.get("datasets") or {}).get(label, passport.get("data"))
        one = {**passport, "setup": setup, "data": data}
        training = [captions.optimiser(one)]
        training += [f"BN over {setup['bn_group']} examples"] if setup.get("bn_group") else []
        training += [f"evaluation batch {setup['eval_batch']}"] if setup.get("eval_batch") else []
        training += [str(setup["precision"])] if setup.get("precision") else []
        name = f"{passport['name']} ({label})" if label else str(passport["name"])
        lines.append(_line({**one, "name": name}, captions.model(one), training))
    return lines


def _line(passport: Mapping[str, Any], model: str, training: list[str]) -> dict[str, str]:
    data = captions.data(passport) if passport.get("data") else "–"
    return {"name": str(passport["name"]), "model": model, "data": data, "training": ", ".join(training)}


def making(passports: Sequence[Mapping[str, Any]], scale: str) -> dict[str, Any]:
    """Return what made the results: command, commits, machines, versions, and the time of every stage."""
    stages = [
        {
            "name": tables.stage(str(passport["name"])),
            "runs": passport.get("runs", "–"),
            "diverged": passport.get("diverged", "–"),
            "minutes": _minutes(seconds(passport)),
            "pure": _minutes(passport["pure_step_seconds"]) if passport.get("pure_step_seconds") else "–",
            "device": str(passport.get("device", "–")),
            "key": str(passport.get("key", "–"))[:12],
        }
        for passport in passports
    ]
    versions: dict[str, set[str]] = {}
    for passport in passports:
        for package, version in (passport.get("versions") or {}).items():
            versions.setdefault(str(package), set()).add(str(version))
    return {
        "command": "make reproduce" + ("" if scale == "laptop" else f" SCALE={scale}"),
        "commits": _distinct(str(passport["git_commit"])[:12] for passport in passports),
        "machines": _distinct(
            f"{passport.get('device', 'unknown device')}, {passport.get('cores', '?')} cores"
            for passport in passports
        ),
        "versions": ", ".join(
            f"{name} {' / '.join(sorted(found))}" for name, found in sorted(versions.items())
        ),
        "stages": stages,
        "runs": sum(int(passport.get("runs") or 0) for passport in passports),
        "diverged": sum(int(passport.get("diverged") or 0) for passport in passports),
        "minutes": _minutes(sum(seconds(passport) for passport in passports)),
    }


def seconds(passport: Mapping[str, Any]) -> float:
    """Time of a stage from nothing: that of its last start leaves out the runs that it found finished."""
    wall = float(passport["wall_seconds"])
    return max(wall, float(passport.get("worker_seconds") or 0.0) / int(passport.get("cores") or 1))


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _minutes(seconds: Any) -> str:
    return f"{float(seconds) / 60:.1f}"
