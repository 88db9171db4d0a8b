"""The numbers of a scale, checked: every section of ``scales/<scale>.yaml`` and of ``params.yaml``.

Unknown keys, wrong types and values out of range are refused with one line that names file, field, value and remedy.
Times are in epochs as in the paper; one epoch is ``ceil(train / batch)`` steps.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic import NonNegativeFloat as NonNegative
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

SCALES = ("smoke", "laptop", "accelerator", "paper")
SWEEPS = (
    "fc",
    "fc_mse",
    "fc_small",
    "cnn",
    "cnn_bn",
    "wrn",
    "wrn_aug",
    "wrn_schedule",
    "wrn_sigma",
    "resnet",
)
AUTOL2 = ("wrn", "wrn_schedule", "fc", "cnn", "cnn_bn")
EXECUTOR_VARIABLE = "L2DYNAMICS_EXECUTOR"
Fraction = Annotated[float, Field(gt=0, lt=1)]
Loss = Literal["softmax", "mse"]
Measure = Literal["minibatch", "subset"]


class ConfigError(ValueError):
    """A value in a configuration file cannot be used; the message is one line for the user."""


class Strict(BaseModel):
    """Base of all sections: immutable, unknown keys refused, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Strict):
    """Which examples: the first ``train`` and ``test`` of the splits (None: all), pooled to ``image_size``."""

    name: Literal["mnist", "cifar10", "imagenet2012"]
    train: PositiveInt | None = None
    test: PositiveInt | None = None
    image_size: PositiveInt | None = None


class FcModel(Strict):
    """Fully connected, ``depth`` hidden ReLU layers of ``width``."""

    kind: Literal["fc"]
    depth: PositiveInt = 3
    width: PositiveInt


class CnnModel(Strict):
    """The CNN of SM A with or without batch norm; the paper: 300 channels, 500 units, window 6, stride 1."""

    kind: Literal["cnn"]
    channels: PositiveInt
    dense: PositiveInt
    batch_norm: bool
    pool_window: PositiveInt
    pool_stride: PositiveInt


class WrnModel(Strict):
    """Wide ResNet ``depth``-``widen`` (Zagoruyko & Komodakis 2016); the paper: 28-10."""

    kind: Literal["wrn"]
    depth: PositiveInt
    widen: PositiveInt

    @model_validator(mode="after")
    def _depth(self) -> "WrnModel":
        if self.depth % 6 != 4:
            raise ValueError("depth must be 6n + 4 (10, 16, 22, 28, …)")
        return self


class ResNetModel(Strict):
    """Bottleneck ResNet; ResNet-50: blocks [3, 4, 6, 3], width 64, ImageNet stem."""

    kind: Literal["resnet"]
    blocks: tuple[PositiveInt, ...] = Field(min_length=1)
    width: PositiveInt
    stem: Literal["imagenet", "cifar"]


Model = Annotated[FcModel | CnnModel | WrnModel | ResNetModel, Field(discriminator="kind")]


class Schedule(Strict):
    """Piecewise-constant learning rate: multiplied by ``factor`` at each fraction of the run in ``at``."""

    factor: PositiveFloat
    at: tuple[Fraction, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _increasing(self) -> "Schedule":
        if list(self.at) != sorted(set(self.at)):
            raise ValueError("at must increase")
        return self


class Setup(Strict):
    """What is trained on what and how; everything but η, λ, σw, seed and length, which are traced."""

    data: Data
    model: Model
    loss: Loss = "softmax"
    batch: PositiveInt
    momentum: float = Field(0.0, ge=0, lt=1)
    augment: bool = False
    schedule: Schedule | None = None
    sigma_w: PositiveFloat
    sigma_b: NonNegative = 0.0
    # Examples that share batch-norm statistics in training: the paper's per-device batch. None: the whole batch.
    bn_group: PositiveInt | None = None
    # Batch norm has no running averages (Stax): evaluation batches have this size and a fixed composition.
    eval_batch: PositiveInt = 500
    # Training examples on which train_loss and train_accuracy are measured (the first ones). None: all.
    eval_train: PositiveInt | None = None
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _groups(self) -> "Setup":
        if self.bn_group is not None and self.batch % self.bn_group:
            raise ValueError(f"batch {self.batch} must be a multiple of bn_group {self.bn_group}")
        if self.data.train is not None and self.batch > self.data.train:
            raise ValueError(f"batch {self.batch} is larger than data.train {self.data.train}")
        return self

    def steps_per_epoch(self, examples: int) -> int:
        """Steps of one epoch over ``examples`` training examples."""
        return -(-examples // self.batch)


class Length(Strict):
    """Epochs of a run as a function of η and λ; exactly one of the four forms.

    ``epochs``: T. ``product``: T = product / (η λ). ``inverse_l2``: T = inverse_l2 / λ.
    ``inverse_eta``: T = inverse_eta / η (for λ = 0).
    """

    epochs: PositiveFloat | None = None
    product: PositiveFloat | None = None
    inverse_l2: PositiveFloat | None = None
    inverse_eta: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one(self) -> "Length":
        if sum(value is not None for value in self.__dict__.values()) != 1:
            raise ValueError("give exactly one of epochs, product, inverse_l2, inverse_eta")
        return self

    def of(self, eta: float, l2: float) -> float:
        """Epochs T for learning rate ``eta`` and coefficient ``l2``."""
        if self.epochs is not None:
            return self.epochs
        if self.inverse_eta is not None:
            return self.inverse_eta / eta
        if self.product is not None:
            return self.product / (eta * l2)
        assert self.inverse_l2 is not None
        return self.inverse_l2 / l2


Positives = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
NonNegatives = Annotated[tuple[NonNegative, ...], Field(min_length=1)]


def _unique(name: str, values: Sequence[float] | None) -> None:
    if values is not None and len(set(values)) != len(values):
        raise ValueError(f"{name} lists a value twice")


class Grid(Strict):
    """Every combination of η, λ, σw and seed, each trained for ``length`` (λ = 0: for ``zero``)."""

    group: Literal["grid", "fixed", "scaled", "budget"] = "grid"
    eta: Positives
    l2: NonNegatives
    sigma_w: Positives | None = None
    seeds: PositiveInt = 1
    length: Length
    zero: Length | None = None
    # Combinations that need more epochs than this are left out, as in the paper (Fig. 2d–f: 4000).
    max_epochs: PositiveFloat | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Grid":
        for name in ("eta", "l2", "sigma_w"):
            _unique(name, getattr(self, name))
        if 0.0 in self.l2 and self.length.epochs is None:
            if self.zero is None:
                raise ValueError("l2 contains 0: give its length as zero: {epochs: …} or {inverse_eta: …}")
            if self.zero.product is not None or self.zero.inverse_l2 is not None:
                raise ValueError("zero is the length of λ = 0: only epochs or inverse_eta make sense")
        if any(value > 0 for value in self.l2) and self.length.inverse_eta is not None:
            raise ValueError("length: inverse_eta is for λ = 0 only (zero:)")
        return self

    def epochs(self, eta: float, l2: float) -> float | None:
        """Length of one run in epochs, or None where ``max_epochs`` leaves it out."""
        rule = self.zero if l2 == 0 and self.zero is not None else self.length
        epochs = rule.of(eta, l2)
        left_out = self.max_epochs is not None and l2 > 0 and epochs > self.max_epochs * (1 + 1e-9)
        return None if left_out else epochs


class Predicted(Strict):
    """Runs at the predicted coefficient λ = multiple · c / T for each budget T (Figs. 1b, 4b, S3, S4)."""

    c_of: Literal["fc", "cnn", "wrn"]
    eta: PositiveFloat
    budgets: Positives
    multiples: tuple[Literal[1, 2], ...] = (1, 2)
    seeds: PositiveInt = 1


class Resources(Strict):
    """What one job of a sweep takes: CPU cores and accelerators.

    Without an accelerator the job computes on exactly ``cpus`` cores, whoever executes it: the number of threads
    decides the order of sums. Ray places the job by both numbers; a fraction of a GPU shares it among jobs.
    """

    cpus: PositiveInt = 1
    gpus: NonNegative = 0.0

    @model_validator(mode="after")
    def _whole(self) -> "Resources":
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: {self.gpus:g}: a job takes a fraction of one GPU or whole ones")
        return self


class Sweep(Strict):
    """One sweep: a setup, its grids and how often a run is evaluated (log-spaced steps)."""

    setup: Setup
    evaluations: int = Field(40, ge=2)
    grids: tuple[Grid, ...] = Field(min_length=1)
    predicted: Predicted | None = None
    # Runs of equal length trained side by side by vmap; pays for small fully connected nets and on accelerators.
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _bucket(self) -> "Sweep":
        if self.bucket > 1 and self.setup.model.kind != "fc":
            raise ValueError("bucket > 1 is for fc models only: convolutions under vmap become grouped ones")
        return self


class Controller(Strict):
    """AutoL2 (Algorithm 1): decay factor, measurement interval in steps, refractory period in steps times λ."""

    decay: float = Field(0.1, gt=0, lt=1)
    every: PositiveInt = 10
    refractory: NonNegative = 0.1


class AutoL2Sweep(Strict):
    """AutoL2 against constant coefficients: same budget, same seeds."""

    setup: Setup
    evaluations: int = Field(40, ge=2)
    eta: PositiveFloat
    epochs: PositiveFloat
    l2: Positives
    seeds: PositiveInt
    controller: Controller = Controller()
    # λ0 of the AutoL2 runs; the paper: 0.1.
    init_l2: Positives = (0.1,)
    measures: tuple[Measure, ...] = Field(("minibatch", "subset"), min_length=1)
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "AutoL2Sweep":
        _unique("l2", self.l2)
        _unique("init_l2", self.init_l2)
        return self


class MeasureC(Strict):
    """Short runs at large λ that measure c = t* λ of one setup (Section 3)."""

    setup: Setup
    evaluations: int = Field(60, ge=2)
    eta: PositiveFloat
    l2: Positives
    seeds: PositiveInt = 1
    length: Length
    bucket: PositiveInt = 1
    resources: Resources | None = None


class MeasureCs(Strict):
    """The setups of stage ``measure_c``."""

    fc: MeasureC
    cnn: MeasureC
    wrn: MeasureC


class Executor(Strict):
    """Who executes the runs of a sweep; ``auto`` is one process per core on CPU, this process on accelerators.

    ``ray`` is a Ray cluster. ``workers`` 0 means one per core, with Ray as many as fit in the cluster.
    """

    kind: Literal["auto", "in_process", "processes", "ray"] = "auto"
    workers: int = Field(0, ge=0)


class Params(Strict):
    """params.yaml: what does not depend on the scale."""

    scale: Literal["smoke", "laptop", "accelerator", "paper"]
    seed: int = Field(0, ge=0, lt=2**31)
    data: dict[Literal["source"], Literal["sample", "tfds"]]
    executor: Executor = Executor()
    figures: dict[Literal["style"], Literal["paper", "slides"]] = {"style": "paper"}


Section = TypeVar("Section", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does (1e-4 is a number).

    Raises:
        ConfigError: the file is missing, is not YAML or is not a mapping.
    """
    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of sections")
    return content


def _complaints(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        value = problem.get("input")
        shown = "" if isinstance(value, dict | BaseModel) else f" (got {value!r})"
        yield f"{field + ': ' if field else ''}{problem['msg'].removeprefix('Value error, ')}{shown}"


def check(section: type[Section], content: Any, where: str) -> Section:
    """Validate ``content`` as ``section``; ``where`` names file and section in the message.

    Raises:
        ConfigError: one line with every complaint.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_complaints(error))) from error


def load_params(root: Path) -> Params:
    """Read and check params.yaml; ``$L2DYNAMICS_EXECUTOR``, such as ``ray`` or ``processes:4``, wins over it."""
    params = check(Params, read_yaml(root / "params.yaml"), "params.yaml")
    if chosen := os.environ.get(EXECUTOR_VARIABLE):
        kind, _, workers = chosen.partition(":")
        executor = check(Executor, {"kind": kind, "workers": workers or 0}, f"{EXECUTOR_VARIABLE}={chosen}")
        return params.model_copy(update={"executor": executor})
    return params


def load_section(root: Path, scale: str, name: str, section: type[Section]) -> Section:
    """Read and check one section of ``scales/<scale>.yaml``.

    Raises:
        ConfigError: unknown scale, missing section, or a value that cannot be used.
    """
    where = f"scales/{scale}.yaml"
    if scale not in SCALES:
        raise ConfigError(f"params.yaml: scale: {scale!r} is unknown, choose one of {', '.join(SCALES)}")
    content = read_yaml(root / where)
    node: Any = content
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(f"{where}: section {name} is missing")
        node = node[part]
    return check(section, node, f"{where}: {name}")
