"""The MLflow experiments of this project: one per setup of the paper, with the results that belong to it."""

from dataclasses import dataclass

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

_FC = "Three hidden layers, ReLU, vanilla full-batch SGD on the first 512 images of MNIST"
_CNN = "Convolutional network, vanilla SGD, CIFAR-10 without augmentation"
_WRN = "Wide ResNet with batch normalisation, CIFAR-10"

EXPERIMENTS = (
    Experiment(
        "fc",
        "fc — MNIST (Fig. 2a–c, S1a, S6, S11)",
        f"{_FC}, T ∝ 1/(ηλ) (paper: 2/(ηλ)). Section 2, SM A.",
        ("fig2", "figS1", "figS6", "figS11"),
        ("fc", "autol2_fc"),
    ),
    Experiment(
        "fc_mse",
        "fc_mse — MNIST, mean squared error (Fig. S5)",
        f"{_FC}, mean squared error, T ∝ 1/(ηλ). SM C.4.",
        ("figS5",),
        ("fc_mse",),
    ),
    Experiment(
        "fc_small",
        "fc_small — CIFAR-10, under-parametrised (Fig. S7)",
        "Three hidden layers of 64 on CIFAR-10: the counter-example in which λ_opt ≠ 0. SM C.",
        ("figS7",),
        ("fc_small",),
    ),
    Experiment(
        "cnn",
        "cnn — CIFAR-10 (Fig. 3a–c, S6, S11)",
        f"{_CNN}, without batch normalisation. Section 2, SM A.",
        ("fig3", "figS6", "figS11"),
        ("cnn", "autol2_cnn"),
    ),
    Experiment(
        "cnn_bn",
        "cnn_bn — CIFAR-10, batch normalisation (Fig. 3d–f, S11)",
        f"{_CNN}, with batch normalisation. Section 2, SM A.",
        ("fig3", "figS11"),
        ("cnn_bn", "autol2_cnn_bn"),
    ),
    Experiment(
        "wrn",
        "wrn — CIFAR-10 (Fig. 2d–f, S1b, S6)",
        f"{_WRN}, vanilla SGD, no augmentation, T ∝ 1/(ηλ) (paper: 0.1/(ηλ)). Section 2, SM A.",
        ("fig2", "figS1", "figS6"),
        ("wrn",),
    ),
    Experiment(
        "wrn_aug",
        "wrn_aug — CIFAR-10, momentum, augmentation (Fig. 1b–c, 4b, S2–S4, S9)",
        f"{_WRN}, momentum 0.9, flips, crops and mixup, constant η (paper: 0.2). Sections 2.1, 3, SM E.",
        ("fig1", "fig4", "figS2", "figS3", "figS4", "figS9"),
        ("wrn_aug", "autol2_wrn"),
    ),
    Experiment(
        "wrn_schedule",
        "wrn_schedule — CIFAR-10, learning rate schedule (Fig. 1a, S10, S12)",
        f"{_WRN}, momentum 0.9, augmentation, η (paper: 0.2) decayed at 0.3 T, 0.6 T and 0.9 T. Section 1, SM E.",
        ("fig1", "figS10", "figS12"),
        ("wrn_schedule", "wrn_sigma", "autol2_wrn_schedule"),
    ),
    Experiment(
        "resnet",
        "resnet — under-parametrised (Fig. S8)",
        "ResNet-50 on ImageNet (below scale `paper` a small ResNet on CIFAR-10), learning rate schedule: the "
        "counter-example in which small λ never catches up. SM C.",
        ("figS8",),
        ("resnet",),
    ),
    Experiment(
        "measure_c",
        "measure_c — the coefficient c (Fig. 4a)",
        "Short runs at large λ that measure c = t*·λ; it predicts the best λ of any budget. Section 3.",
        ("fig4",),
        ("measure_c",),
    ),
)

THEORY = Experiment(
    "theory",
    "theory — wide networks (Sec. 4, Fig. 5)",
    "Mode evolution, kernel decay and loss minimum of wide networks, against theory. Section 4, SM B.",
    ("fig5",),
)

REPORT = Experiment(
    "report",
    "report — figures and claims",
    "All figures, the claims table and the report, one run per scale.",
)


ALL = (*EXPERIMENTS, THEORY, REPORT)


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
