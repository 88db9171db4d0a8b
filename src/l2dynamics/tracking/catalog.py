"""The MLflow experiments of this project: one per setup of the paper, with the results that belong to it."""

from dataclasses import dataclass

from l2dynamics.experiments import registry

PAPER = "https://arxiv.org/abs/2006.08643"


@dataclass(frozen=True)
class Experiment:
    """One MLflow experiment.

    Attributes:
        setup: short name, the value of the tag ``setup``.
        title: name in the MLflow UI.
        text: first paragraph of its description, Markdown.
        figures: figures of the paper that show its runs.
        results: names of the results files whose runs it holds.
    """

    setup: str
    title: str
    text: str
    figures: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """What the MLflow UI shows above the runs (Markdown)."""
        return f"{self.text}\n\n{_HOW_TO_READ}"


_HOW_TO_READ = f"""\
From *On the training dynamics of deep networks with L2 regularization* ([arXiv:2006.08643]({PAPER})).
One parent run per sweep and scale, one child per training run. The files in `results/` are the truth;
this view is rebuilt from them by `dvc repro track`.

- *Views → Training curves* (top right) shows all runs of the experiment against t·η·λ and against update steps.
- Curves: x = update step. `by_eta_lambda/…`: x = 10⁶·t·η·λ with t in epochs (MLflow's x is an integer), the
  variable in which runs of different η and λ collapse. `axis/t_eta_lambda` and `axis/epoch` hold the exact
  values: choose one as the chart's x-axis ("Metric").
- Columns: `best/test_accuracy` is the maximum over training, the paper's performance of a run;
  `t_star/epochs` the first evaluation within 0.005 of it; `final/…` the last evaluation.
- Filters: `params.eta = "0.15"`, `params.l2 = "1e-3"`, `tags.group = "grid"`, `tags.scale = "laptop"`,
  `tags.diverged = "false"`."""


def _of(group: registry.Group) -> Experiment:
    # The runs of the theory stand in no long table: its files are logged as a whole.
    tables = tuple(one.name for one in group.experiments if one.kind != "theory")
    return Experiment(group.name, group.title, f"{group.text} {group.section}.", group.figures, tables)


EXPERIMENTS = tuple(_of(group) for group in registry.GROUPS if group.name != "theory")
(THEORY,) = (_of(group) for group in registry.GROUPS if group.name == "theory")
REPORT = Experiment(
    "report",
    "report — figures and claims",
    "All figures, the claims table and the report, one run per scale.",
)
# New ones at the end: stores hold the others under their numbers.
ALL = (*(one for one in EXPERIMENTS if one.setup != "beyond"), THEORY, REPORT)
ALL += tuple(one for one in EXPERIMENTS if one.setup == "beyond")


def number(entry: Experiment) -> int | None:
    """Return the id that an experiment has in a store made by this project; None for those of new sweeps.

    A new SQLite store gets all of :data:`ALL` at once, and MLflow counts from 1: so the report can link to them.
    """
    return ALL.index(entry) + 1 if entry in ALL else None


def experiment(name: str) -> Experiment:
    """Return the experiment that holds the runs of the results ``name``; a new sweep gets one of its own."""
    for entry in EXPERIMENTS:
        if name in entry.results:
            return entry
    return Experiment(name, name, f"Sweep `{name}`.", results=(name,))
