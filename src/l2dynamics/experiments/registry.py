"""The experiments and figures in one table, the paper's and ours: what each is called, what it shows and what it needs.

Whatever lists or names experiments is derived from here: MLflow's experiments, titles in figures and claims, the η of
single-η panels, the stages of a plan, the reference. The numbers of a scale are in ``scales/<scale>.yaml``, the nodes
of the DAG in ``dvc.yaml``. No training stage imports this module: a better word here trains nothing again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "imagenet2012": "ImageNet"}
"""Data sets, by their names in a section, as readers know them."""

MODELS = {"fc": "FC", "cnn": "CNN", "cnn_bn": "CNN with BN", "wrn": "WRN", "resnet": "ResNet"}
"""Architectures, by their kinds in a section, as readers know them."""


@dataclass(frozen=True)
class Figure:
    """One figure of the paper.

    Attributes:
        name: e.g. ``figS2``.
        title: what it shows, in a line.
    """

    name: str
    title: str

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the results that it shows."""
        return tuple(one.name for one in EXPERIMENTS if self.name in one.figures)


@dataclass(frozen=True)
class Group:
    """Experiments on one setup, which MLflow shows together.

    Attributes:
        name: short, e.g. ``wrn_aug``.
        about: what sets it apart from the other groups.
        text: its setup in a sentence.
        section: of the paper.
        where: where the paper shows it; empty: in the figures of its experiments.
    """

    name: str
    about: str
    text: str
    section: str
    where: str = ""

    @property
    def experiments(self) -> tuple["Experiment", ...]:
        """Its experiments, in the order of the table."""
        return tuple(one for one in EXPERIMENTS if one.group == self.name)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that show it, in the order of the paper."""
        shown = {figure for one in self.experiments for figure in one.figures}
        return tuple(figure.name for figure in FIGURES if figure.name in shown)

    @property
    def title(self) -> str:
        """Name, subject and the paper's figures, or ours, e.g. ``fc — MNIST (Fig. 2a–c, S1a, S6, S11)``."""
        shown = {panel for one in self.experiments for panel in one.panels}
        shown = {panel for panel in shown if not ours(figure_of(panel))} or shown
        return f"{self.name} — {self.about} ({self.where or 'Fig. ' + _merged(shown)})"


@dataclass(frozen=True)
class Experiment:
    """What one training stage (or the theory) runs.

    Attributes:
        stage: of the DAG, e.g. ``sweep@fc``.
        group: name of its group.
        data: data sets that its setups take at one scale or another.
        title: the network, in sentences.
        label: the same as the paper writes it above its panels.
        panels: where the paper shows it, as the paper counts: ``2a–c`` or ``S7``.
        eta: the paper's learning rate where a panel shows a single one; None where there is none.
        against_l2: name of the figure of t* and accuracy against λ, where it is not the first in ``panels``.
        needs_c: whether it trains at λ = c/T and so needs the measured c.
    """

    stage: str
    group: str
    data: tuple[str, ...]
    title: str
    label: str
    panels: tuple[str, ...]
    eta: float | None
    against_l2: str = ""
    needs_c: bool = False

    @property
    def kind(self) -> str:
        """``sweep``, ``autol2``, ``measure_c`` or ``theory``."""
        return self.stage.partition("@")[0]

    @property
    def key(self) -> str:
        """What tells it from others of its kind, e.g. ``fc``; empty if it is the only one."""
        return self.stage.partition("@")[2]

    @property
    def name(self) -> str:
        """Name of its results, e.g. ``fc`` or ``autol2_fc``."""
        return {"sweep": self.key, "autol2": f"autol2_{self.key}"}.get(self.kind, self.stage)

    @property
    def section(self) -> str:
        """Its section of ``scales/<scale>.yaml``, e.g. ``fc`` or ``autol2.fc``."""
        return {"sweep": self.key, "autol2": f"autol2.{self.key}"}.get(self.kind, self.stage)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that show it."""
        return tuple(dict.fromkeys(figure_of(panel) for panel in self.panels))

    @property
    def main_figure(self) -> str:
        """Name of the figure that draws its accuracy against λ."""
        return self.against_l2 or self.figures[0]


_FC = "Three hidden layers, ReLU, vanilla full-batch SGD on the first images of MNIST (paper: 512)"
_CNN = "Convolutional network, vanilla SGD, CIFAR-10 (laptop, workstation: MNIST) without augmentation"
_WRN = "Wide ResNet with batch normalisation, CIFAR-10 (laptop, workstation: MNIST)"
_MOMENTUM = f"{_WRN}, momentum 0.9, flips, crops and mixup (laptop, workstation: none)"
_FIXED_RATE = f"{_MOMENTUM}, constant η (paper: 0.2)."
_DECAYS = f"{_MOMENTUM}, η (paper: 0.2) decayed at 0.3 T, 0.6 T and 0.9 T."
_SMALL = "Three narrow hidden layers (paper: 64) on CIFAR-10: the counter-example in which λ_opt ≠ 0."
_RESNET = (
    "ResNet-50 on ImageNet (below scale `paper` a small ResNet on CIFAR-10), learning rate schedule: the "
    "counter-example in which small λ never catches up."
)
_BEYOND = (
    "AdamW and Adam, AutoL2 in units of its own, L2 on some of the weights, minibatches against full batches: what the "
    "paper leaves open."
)
_MEASURE = "Short runs at large λ that measure c = t*·λ; it predicts the best λ of any budget."
_THEORY = "Mode evolution, kernel decay and loss minimum of wide networks, against theory."

GROUPS = (
    Group("fc", "MNIST", f"{_FC}, T ∝ 1/(ηλ) (paper: 2/(ηλ)).", "Section 2, SM A"),
    Group("fc_mse", "MNIST, mean squared error", f"{_FC}, mean squared error, T ∝ 1/(ηλ).", "SM C.4"),
    Group("fc_small", "CIFAR-10, under-parametrised", _SMALL, "SM C"),
    Group("cnn", "CIFAR-10", f"{_CNN}, without batch normalisation.", "Section 2, SM A"),
    Group("cnn_bn", "CIFAR-10, batch normalisation", f"{_CNN}, with batch normalisation.", "Section 2, SM A"),
    Group(
        "wrn",
        "CIFAR-10",
        f"{_WRN}, vanilla SGD, no augmentation, T ∝ 1/(ηλ) (paper: 0.1/(ηλ)).",
        "Section 2, SM A",
    ),
    Group("wrn_aug", "CIFAR-10, momentum", _FIXED_RATE, "Sections 2.1, 3, SM E"),
    Group("wrn_schedule", "CIFAR-10, learning rate schedule", _DECAYS, "Section 1, SM E"),
    Group("resnet", "under-parametrised", _RESNET, "SM C"),
    Group("beyond", "not in the paper", _BEYOND, "ours"),
    Group("measure_c", "the coefficient c", _MEASURE, "Section 3"),
    Group("theory", "wide networks", _THEORY, "Section 4, SM B", where="Sec. 4, Fig. 5"),
)

_MNIST, _CIFAR = ("mnist",), ("cifar10",)
# The paper: CIFAR-10, on which networks that small scales can afford are outside the regime.
_EITHER = ("cifar10", "mnist")
_MOVING = "WRN+momentum"

# The paper does not say the η of Figure S5c and d: 0.05 is in the middle of its grid.
EXPERIMENTS = (
    Experiment("sweep@fc", "fc", _MNIST, "FC", "FC", ("2a–c", "S1a", "S6", "X4"), 0.15),
    Experiment("sweep@fc_mse", "fc_mse", _MNIST, "FC with MSE", "FC", ("S5",), 0.05),
    Experiment("sweep@fc_small", "fc_small", _CIFAR, "FC-small", "FC", ("S7",), 0.1),
    Experiment("sweep@cnn", "cnn", _EITHER, "CNN", "CNN No BN", ("3a–c", "S6"), 0.01),
    Experiment("sweep@cnn_bn", "cnn_bn", _EITHER, "CNN+BN", "CNN BN", ("3d–f", "X4"), 0.01),
    Experiment("sweep@wrn", "wrn", _EITHER, "WRN", "WRN", ("2d–f", "S1b", "S6"), 0.2),
    Experiment(
        "sweep@wrn_aug",
        "wrn_aug",
        _EITHER,
        _MOVING,
        "WRN momentum",
        ("1b", "4b", "S2", "S3", "S4"),
        0.2,
        against_l2="figS2",
        needs_c=True,
    ),
    Experiment("sweep@wrn_schedule", "wrn_schedule", _EITHER, "WRN+schedule", "WRN", ("1a",), 0.2),
    Experiment("sweep@wrn_sigma", "wrn_schedule", _EITHER, "WRN", "WRN", ("S12",), 0.2),
    Experiment("sweep@resnet", "resnet", ("cifar10", "imagenet2012"), "ResNet", "ResNet", ("S8",), 0.1),
    Experiment("autol2@wrn", "wrn_aug", _EITHER, "WRN", "WRN", ("1c", "S9"), 0.2),
    Experiment("autol2@wrn_schedule", "wrn_schedule", _EITHER, "WRN+schedule", "WRN", ("S10", "X2"), 0.2),
    Experiment("autol2@fc", "fc", _MNIST, "FC", "FC", ("S11",), 0.15),
    Experiment("autol2@cnn", "cnn", _EITHER, "CNN", "CNN No BN", ("S11",), 0.01),
    Experiment("autol2@cnn_bn", "cnn_bn", _EITHER, "CNN+BN", "CNN BN", ("S11",), 0.01),
    Experiment("sweep@cnn_bn_adamw", "beyond", _EITHER, "CNN+BN with AdamW", "CNN BN, AdamW", ("X1",), 0.002),
    Experiment("sweep@cnn_bn_adam", "beyond", _EITHER, "CNN+BN with Adam", "CNN BN, Adam", ("X1",), 0.002),
    Experiment("autol2@wrn_cosine", "beyond", _EITHER, "WRN+cosine", "WRN, cosine", ("X2",), 0.2),
    Experiment("autol2@cnn_bn_schedule", "beyond", _EITHER, "CNN+BN+schedule", "CNN BN", ("X2",), 0.01),
    Experiment("autol2@cnn_bn_cosine", "beyond", _EITHER, "CNN+BN+cosine", "CNN BN, cosine", ("X2",), 0.01),
    Experiment("sweep@cnn_bn_l2_all", "beyond", _EITHER, "CNN+BN", "L2 on all", ("X3",), 0.01),
    Experiment(
        "sweep@cnn_bn_l2_invariant",
        "beyond",
        _EITHER,
        "CNN+BN with L2 on scale-invariant weights",
        "L2 on scale-invariant",
        ("X3",),
        0.01,
    ),
    Experiment(
        "sweep@cnn_bn_l2_others",
        "beyond",
        _EITHER,
        "CNN+BN with L2 on the other weights",
        "L2 on others",
        ("X3",),
        0.01,
    ),
    Experiment("sweep@fc_minibatch", "beyond", _MNIST, "FC in minibatches", "FC, minibatches", ("X4",), 0.15),
    Experiment(
        "sweep@cnn_bn_full",
        "beyond",
        _EITHER,
        "CNN+BN in full batches",
        "CNN BN, full batches",
        ("X4",),
        0.01,
    ),
    Experiment("measure_c", "measure_c", (*_MNIST, *_CIFAR), "FC, CNN and WRN", "WRN", ("4a",), 0.2),
    Experiment("theory", "theory", _MNIST, "two-layer ReLU network", "2-layer", ("5", "X5"), None),
)

FIGURES = (
    Figure("fig1", "WRN with momentum: λ independence, λ predicted, AutoL2"),
    Figure("fig2", "smaller λ needs longer, t* ∝ 1/(ηλ), to reach the same accuracy; FC (a–c), WRN (d–f)"),
    Figure("fig3", "the format of Figure 2 for CNNs without (a–c) and with batch norm (d–f), one η"),
    Figure("fig4", "c from a short run at large λ (a), tuned and predicted λ (b)"),
    Figure("fig5", "evolution of the modes, k = 2 and k = 1; training loss against theory"),
    Figure("figS1", "the time to training accuracy 1 scales as 1/η and hardly depends on λ; FC (a), WRN (b)"),
    Figure("figS2", "the format of Figure 2 for WRN with momentum, one η"),
    Figure("figS3", "accuracy against λ for several budgets, with the predicted λ of each"),
    Figure("figS4", "Figures 1b, 4b and S3 again with c doubled"),
    Figure("figS5", "MSE loss, accuracy depends on η if stopped at training accuracy 1, not later"),
    Figure("figS6", "training curves of the runs of Figures 2 and 3, one column per setup"),
    Figure("figS7", "a counter-example. A small FC net is best at one λ > 0"),
    Figure("figS8", "a counter-example, ResNet. Accuracy over η × λ (a), over λ × T (b)"),
    Figure("figS9", "AutoL2 against constant λ: test accuracy, training loss, λ"),
    Figure("figS10", "AutoL2 with a schedule of η"),
    Figure("figS11", "AutoL2 against the best constant λ, other architectures"),
    Figure("figS12", "Figure 1a for several initialisation scales σw"),
    Figure("figX1", "ours. AdamW and Adam, the optimal λ against ηT (a), accuracy (b) and t* (c) against λ"),
    Figure("figX2", "ours. AutoL2 in its own units with a schedule of η, against the tuned λ"),
    Figure(
        "figX3",
        "ours. L2 on the scale-invariant weights, on the others, on all: t*, accuracy and angular updates",
    ),
    Figure("figX4", "ours. The gain of λ > 0 and t* in full batches and in minibatches"),
    Figure("figX5", "ours. t* of networks of finite width, against the theory of infinite width"),
)

SWEEPS = tuple(one.key for one in EXPERIMENTS if one.kind == "sweep")
AUTOL2 = tuple(one.key for one in EXPERIMENTS if one.kind == "autol2")

_PANEL = re.compile(r"(?P<part>[SX]?)(?P<number>\d+)(?P<first>[a-z]?)(?:–(?P<last>[a-z]))?")


def find(name: str) -> Experiment | None:
    """Return the experiment whose results are called ``name``; None for a sweep that the paper has not."""
    return next((one for one in EXPERIMENTS if one.name == name), None)


def title(name: str) -> str:
    """Return the network of the results ``name`` for sentences, e.g. ``CNN+BN`` of ``cnn_bn``; else ``name``."""
    found = find(name)
    return found.title if found else name


def labels(names: Iterable[str]) -> dict[str, str]:
    """Return what stands above the panels of some results, e.g. ``CNN No BN`` for ``cnn``."""
    found = {name: find(name) for name in names}
    return {name: one.label if one else name for name, one in found.items()}


def figure_of(panel: str) -> str:
    """Return the name of the figure of a panel: ``fig2`` of ``2a–c``, ``figS7`` of ``S7``, ``figX1`` of our ``X1``."""
    part, number, *_ = _parts(panel)
    return f"fig{part}{number}"


def ours(figure: str) -> bool:
    """Return whether a figure is ours, ``figX1`` and so on, not the paper's."""
    return figure.startswith("figX")


def _parts(panel: str) -> tuple[str, int, str, str]:
    """Return S in the supplement and X beyond the paper, the number of the figure, the first and the last letter."""
    match = _PANEL.fullmatch(panel)
    if match is None:
        raise ValueError(f"{panel!r} is no panel of the paper: write 2a–c, 1b or S7")
    return match["part"], int(match["number"]), match["first"], match["last"] or match["first"]


def _merged(panels: Iterable[str]) -> str:
    """Return panels in the order of the paper, neighbours as one: ``1b, S2, 1c, S3`` → ``1b–c, S2–S3``."""
    runs: list[list[tuple[str, int, str, str]]] = []
    for part in sorted(map(_parts, panels)):
        if runs and _adjoin(runs[-1][-1], part):
            runs[-1].append(part)
        else:
            runs.append([part])
    return ", ".join(_span(run) for run in runs)


def _adjoin(one: tuple[str, int, str, str], other: tuple[str, int, str, str]) -> bool:
    last, first = one[3], other[2]
    if last and first:
        return one[:2] == other[:2] and ord(first) == ord(last) + 1
    return not last and not first and one[0] == other[0] and other[1] == one[1] + 1


def _span(run: list[tuple[str, int, str, str]]) -> str:
    (sign, number, first, _), (_, end, _, last) = run[0], run[-1]
    start = f"{sign}{number}{first}"
    if number != end:
        return f"{start}–{sign}{end}"
    return start if first == last else f"{start}–{last}"
