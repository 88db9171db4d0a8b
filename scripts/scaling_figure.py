"""Draw docs/scaling.svg: runs per hour measured on two cores, the scale ``paper`` simulated on 8 to 512 accelerators.

``python scripts/scaling_figure.py`` also prints the simulated table of docs/cluster.md. It trains nothing: what was
measured stands in bench/executors.csv, written by ``python -m bench executors``.
"""

import argparse
import csv
from pathlib import Path

from l2dynamics import paths
from l2dynamics.training import numerics

numerics.configure()

from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from l2dynamics.figures import style  # noqa: E402
from l2dynamics.pipeline import scaling  # noqa: E402

SCALE, DEVICE = "paper", "h100"
ACCELERATORS = (8, 16, 32, 64, 128, 256, 512)
#: Start of a process, import of jax, compilation from the cache, seconds.
OVERHEAD = 30.0
WIDE = dict.fromkeys(
    ("sweep@wrn", "sweep@wrn_aug", "sweep@wrn_schedule", "sweep@wrn_sigma", "sweep@resnet"), 8
)
#: Which tasks, whether stage after stage, and the colour.
WAYS = {
    "all stages at once": ("one", False, style.CATEGORIES[0]),
    "all at once, WRN and ResNet on 8 each": ("split", False, style.CATEGORIES[2]),
    "one stage after another": ("one", True, style.CATEGORIES[4]),
}


def measured(axes: Axes, file: Path) -> None:
    """Draw runs per hour against the number of workers."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for executor, color in (("processes", style.CATEGORIES[1]), ("ray", style.CATEGORIES[3])):
        found = [row for row in rows if row["executor"] == executor]
        workers = [int(row["workers"]) for row in found]
        axes.plot(workers, [int(row["runs_per_hour"]) for row in found], "o-", color=color, label=executor)
    axes.plot(workers, [int(row["limit"]) for row in found], **style.GUIDE_LINE)
    axes.set(
        xlabel="workers", xticks=workers, ylabel="runs per hour", ylim=(0, None), title="measured, two cores"
    )
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.9))


def simulated(root: Path) -> tuple[str, list[str], dict[int, list[scaling.Schedule]], float]:
    """What there is to do, in a sentence, the table of docs/cluster.md, what it shows, and the seconds of work."""
    one = scaling.tasks_of(root, SCALE, DEVICE, width=1)
    split = [
        scaling.Task(task.stage, task.seconds / WIDE.get(task.stage, 1), WIDE.get(task.stage, 1))
        for task in one
    ]
    work = sum(task.seconds for task in one)
    longest = max(task.seconds for task in one)
    said = f"{len(one)} jobs, {work / 3600:.0f} hours of one accelerator, the longest {longest / 3600:.1f}"
    tasks = {"one": one, "split": split}
    lines = ["| accelerators | ideal | " + " | ".join(WAYS) + " |", "| --- " * (2 + len(WAYS)) + "|"]
    rows = {}
    for count in ACCELERATORS:
        rows[count] = [
            scaling.schedule(tasks[kind], count, OVERHEAD, one_by_one=o) for kind, o, _ in WAYS.values()
        ]
        cells = [f"{found.makespan / 3600:.1f} h, {found.efficiency:.0%}" for found in rows[count]]
        lines.append(f"| {count} | {work / count / 3600:.1f} h | " + " | ".join(cells) + " |")
    return said, lines, rows, work


def main() -> None:
    """Simulate, print and draw."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    root = paths.find_root()
    said, lines, rows, work = simulated(root)
    print("\n".join([said, *lines]))
    chosen = style.get_style("paper")
    with chosen.context():
        width, height = chosen.panel
        figure = Figure(figsize=(3.3 * width, 1.15 * height), layout="constrained")
        first, left, right = figure.subplots(1, 3)
        measured(first, root / "bench" / "executors.csv")
        left.plot(ACCELERATORS, [work / n / 3600 for n in ACCELERATORS], label="ideal", **style.GUIDE_LINE)
        for index, (name, (_, _, color)) in enumerate(WAYS.items()):
            left.plot(
                ACCELERATORS,
                [rows[n][index].makespan / 3600 for n in ACCELERATORS],
                "o-",
                color=color,
                label=name,
            )
            right.plot(ACCELERATORS, [rows[n][index].efficiency for n in ACCELERATORS], "o-", color=color)
        left.set(
            xscale="log",
            yscale="log",
            xlabel="accelerators",
            ylabel="hours",
            title="simulated: time to the last run",
        )
        right.set(
            xscale="log", xlabel="accelerators", ylim=(0, 1.05), title="simulated: share of time in use"
        )
        for axes in (left, right):
            axes.set_xticks(ACCELERATORS, [str(n) for n in ACCELERATORS])
            axes.minorticks_off()
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        figure.savefig(root / "docs" / "scaling.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
