"""``l2dynamics verify``: train a random sample of the committed runs again, and compare with their tables.

Where the processor is of the kind that made the results, every number must be the same, bit for bit. On another kind
rounding differs and grows during training: the best test accuracy of a run must then agree within :data:`TOLERANCE`.
Of the theory tasks are computed again, one of every kind, and their numbers and rows compared.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics import paths
from l2dynamics.experiments import registry, runs, scales, schema
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.pipeline import stage as stages
from l2dynamics.results import machine, tables
from l2dynamics.results.columns import LOG_NORM
from l2dynamics.results.tables import Results
from l2dynamics.running import affinity, memory, train_job, workload
from l2dynamics.running.workload import Job
from l2dynamics.storage import archives
from l2dynamics.theory import tasks
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.training.curves import table

TOLERANCE = 0.05
"""Difference of the best test accuracy of a run, between processors of different kinds.

Of numbers of the theory relative, and of those smaller than it in units of it.
"""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Sweep:
    """The runs of one stage (of one of its setups) as the scale defines them, and the results they are held against."""

    stage: str
    recipe: Recipe
    specs: Sequence[RunSpec]
    results: Results


@dataclass(frozen=True)
class Checked:
    """What came of one job: its name, whether it agrees, and in words how."""

    stage: str
    job: str
    agrees: bool
    words: str


def sweeps(root: Path, scale: str) -> Iterable[Sweep]:
    """All training of a scale that has results.

    Raises:
        ResultsError: results are damaged.
        ConfigError: a section cannot be used.
    """
    present = set(tables.names(root, scale))
    params = scales.load_params(root)
    params = params.model_copy(update={"scale": scale, "data": {"source": scales.source(root, scale)}})
    measured = tables.load("measure_c", root, scale) if "measure_c" in present else None
    if measured is not None:
        for setup, section in scales.load_section(root, scale, "measure_c", schema.MeasureCs):
            recipe = Recipe.of(f"measure_c/{setup}", section, params, root)
            specs = runs.of_measure_c(setup, section, workload.check(recipe), params.seed)
            yield Sweep("measure_c", recipe, specs, measured)
    for one in registry.EXPERIMENTS:
        name = {"sweep": one.key, "autol2": f"autol2_{one.key}"}.get(one.kind, "")
        if name not in present:
            continue
        results = tables.load(name, root, scale)
        if one.kind == "sweep":
            section = scales.load_section(root, scale, one.section, schema.Sweep)
            c = results.passport["config"].get("c")
            recipe = Recipe.of(one.stage, section, params, root)
            specs = runs.of_sweep(one.key, section, workload.check(recipe), params.seed, c)
        else:
            auto = scales.load_section(root, scale, one.section, schema.AutoL2Sweep)
            recipe = Recipe.of(one.stage, auto, params, root)
            specs = runs.of_autol2(one.key, auto, workload.check(recipe), params.seed)
        yield Sweep(one.stage, recipe, specs, results)


def chosen(sweep: Sweep, count: int, draw: random.Random) -> list[Job]:
    """``count`` jobs of the shorter half of a sweep, drawn at random."""
    jobs = sorted(workload.jobs(sweep.recipe, sweep.specs), key=lambda job: job.run_steps)
    return draw.sample(jobs[: max(1, (len(jobs) + 1) // 2)], min(count, max(1, (len(jobs) + 1) // 2)))


@dataclass(frozen=True)
class Theory:
    """The theory of a scale as the scale defines it, and the results it is held against."""

    work: tasks.Work
    results: Results

    def chosen(self, count: int, draw: random.Random) -> list[str]:
        """``count`` tasks of the cheaper half of every kind, drawn at random."""
        config, seed = self.work.config, self.work.seed
        kinds: dict[str, list[str]] = {}
        for name in reversed(tasks.longest_first(tasks.names(config, seed), config, seed)):
            kinds.setdefault(name.partition("@")[0], []).append(name)
        cheap = [names[: (len(names) + 1) // 2] for names in kinds.values()]
        return [name for names in cheap for name in draw.sample(names, min(count, len(names)))]

    def committed(self, name: str) -> Any:
        """The numbers of a task in the results."""
        group, _, member = name.partition("@")
        numbers = self.results.passport["numbers"][group]
        if not member:
            return numbers
        everything = tasks.names(self.work.config, self.work.seed)
        return numbers[[one for one in everything if one.startswith(f"{group}@")].index(name)]

    def lacks(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """How many rows of a task, as :func:`_row`, are not in the table."""
        table = self.results.table
        known = {_row(row) for row in table.itertuples(index=False, name=None)}
        return sum(_row([row.get(str(name)) for name in table.columns]) not in known for row in rows)


def theory_of(root: Path, scale: str) -> Theory | None:
    """The theory of a scale; None if it has no results.

    Raises:
        ResultsError: results are damaged.
        ConfigError: the section cannot be used.
    """
    if not (paths.results(root, scale) / "theory.json").exists():
        return None
    seed, source = scales.load_params(root).seed, scales.source(root, scale)
    section = scales.load_section(root, scale, "theory", TheoryConfig)
    return Theory(tasks.Work(section, seed, source, root, root), tables.load("theory", root, scale))


def _same_kind(passport: Mapping[str, Any]) -> bool:
    """Whether results were made on a device like this one, so that every bit must be the same."""
    return machine.device() == passport.get("device")


def check_theory(theory: Theory, name: str, folder: Path) -> Checked:
    """Compute one task of the theory anew in ``folder`` and compare."""
    work = theory.work._replace(folder=folder)
    tasks.execute(name, work, lambda event: None, lambda: False)
    found = archives.load(work.file(name))
    assert found is not None
    again, before = (dict(_leaves(one)) for one in (found[1]["numbers"], theory.committed(name)))
    same_kind = _same_kind(theory.results.passport)
    agrees, words = compare_numbers(again, before, same_kind)
    if agrees and same_kind and (lost := theory.lacks(found[1]["rows"])):
        agrees, words = False, f"{lost} of its rows are not in the table"
    return Checked("theory", name, agrees, words)


def compare_numbers(again: Mapping[str, Any], before: Mapping[str, Any], same_kind: bool) -> tuple[bool, str]:
    """Hold the numbers of a task of the theory against the committed ones, by their place; see :func:`compare`.

    On one kind of processor they agree to :data:`ROUNDING`: sums of LAPACK depend on its number of threads.
    """
    if again == before:
        return True, "the same, bit for bit"
    numbers = [
        name for name in again if all(type(each.get(name)) in (int, float) for each in (again, before))
    ]
    if again.keys() != before.keys() or any(
        again[name] != before[name] for name in again if name not in numbers
    ):
        return False, "other numbers than the results have"
    one, other = (np.array([float(each[name]) for name in numbers]) for each in (again, before))
    worst = float(np.max(np.abs(one - other) / np.maximum(np.abs(other), TOLERANCE)))
    allowed = ROUNDING if same_kind else TOLERANCE
    kind = "this" if same_kind else "another"
    words = f"numbers differ by up to {worst:.2g} on {kind} kind of processor, allowed are {allowed:g}"
    return worst <= allowed, words


def _row(values: Iterable[Any]) -> tuple[Any, ...]:
    """A row as it is compared: numbers by nine digits, NaN as None."""
    return tuple(
        (None if np.isnan(value) else f"{value:.9g}") if isinstance(value, float | int) else value
        for value in values
    )


def _leaves(value: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    """What a tree of numbers holds by its place; but for times, which no computation repeats."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name != "seconds":
                yield from _leaves(part, f"{place}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{place}.{index}")
    else:
        yield place, value


def check(sweep: Sweep, job: Job, folder: Path) -> Checked:
    """Train one job anew in ``folder`` and compare."""
    job = replace(job, folder=folder)
    train_job.execute(job)
    found = workload.load(job)
    assert found is not None
    per_epoch = sweep.recipe.setup.steps_per_epoch(len(workload.dataset(sweep.recipe).train_labels))
    again = table([(found.specs, found.curves)], found.specs, per_epoch)
    same_kind = _same_kind(sweep.results.passport)
    agrees, words = compare(again, sweep.results.table, same_kind)
    runs_of = f"{len(job.specs)} runs as " if len(job.specs) > 1 else ""
    return Checked(sweep.stage, f"{runs_of}{job.name}", agrees, words)


def compare(again: pd.DataFrame, committed: pd.DataFrame, same_kind: bool) -> tuple[bool, str]:
    """Hold runs trained again against those of a results table.

    Args:
        again: rows of some runs.
        committed: the whole table.
        same_kind: whether the processors are of one kind, so that every bit must be the same.

    Returns:
        Whether they agree, and in words how.
    """
    rows = committed[committed["run"].isin(again["run"].unique())]
    measured = [name for name in map(str, committed) if name.startswith(LOG_NORM)]
    if missing := set(measured) - set(again):
        return False, f"{min(missing)} is not measured any more"
    columns = [*tables.METRICS, *tables.BLOCKS, "step", *measured]
    one, other = (frame.sort_values(["run", "step"])[columns].to_numpy(float) for frame in (again, rows))
    if one.shape != other.shape:
        return False, "other runs or other evaluations than the table has"
    if np.array_equal(one, other, equal_nan=True):
        return True, "the same, bit for bit"
    best = [frame.groupby("run")["test_accuracy"].max() for frame in (again, rows)]
    worst = float((best[0] - best[1]).abs().max())
    words = f"best test accuracy differs by up to {worst:.4f}"
    if same_kind:
        return False, f"{words}: on this kind of processor it must not"
    return worst <= TOLERANCE, f"{words} on another kind of processor, allowed are {TOLERANCE:g}"


def verify_command(
    *, scale: str | None, per_sweep: int, minutes: float, seed: int | None, renew: bool
) -> bool:
    """Verify a scale within a time and say what was found; return whether all agreed.

    Args:
        scale: None is that in force.
        per_sweep: jobs of every sweep.
        minutes: after which no further job is begun.
        seed: of the draw; None draws another every time.
        renew: take the results of the stages whose jobs all agreed as those of the present code: ``dvc commit``.

    Raises:
        ConfigError: there are no results, or results of another scale than that in force are to be renewed.
    """
    root = paths.find_root()
    scale = scale or paths.scale(root)
    if renew and scale != paths.scale(root):
        raise ConfigError(f"--renew: scale {scale} is not in force: python scripts/set_scale.py {scale}")
    affinity.pin(1)  # as the workers that made the results: XLA sizes its thread pool by it
    memory.keep_freed()
    draw = random.Random(seed)
    todo: list[Callable[[Path], Checked]] = [
        partial(check, sweep, job) for sweep in sweeps(root, scale) for job in chosen(sweep, per_sweep, draw)
    ]
    if (theory := theory_of(root, scale)) is not None:
        todo += [partial(check_theory, theory, name) for name in theory.chosen(per_sweep, draw)]
    if not todo:
        raise ConfigError(f"scale {scale} has no results to verify: run `dvc repro`")
    draw.shuffle(todo)
    done: list[Checked] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_folder(root)) as folder:
        for index, begin in enumerate(todo):
            if time.monotonic() - began > 60 * minutes:
                break
            found = begin(Path(folder) / str(index))
            done.append(found)
            stages.say(f"{found.stage}: {found.job}: {found.words}")
    agreed = sum(one.agrees for one in done)
    stages.say(
        f"verify, scale {scale}: {agreed} of {len(done)} jobs agree; {len(todo) - len(done)} not begun "
        f"within {minutes:g} minutes"
    )
    if renew:
        _renew(root, done)
    return agreed == len(done) > 0


def _folder(root: Path) -> Path:
    folder = paths.work(root) / "verify"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _renew(root: Path, done: Sequence[Checked]) -> None:
    names = sorted({one.stage for one in done} - {one.stage for one in done if not one.agrees})
    for name in names:
        command = [sys.executable, "-m", "dvc", "commit", "--force", name]
        subprocess.run(command, cwd=root, check=True)
    stages.say(f"renewed: {', '.join(names) or 'nothing'}")
