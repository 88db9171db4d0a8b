"""The numbers of a scale, checked: every section of ``scales/<scale>.yaml`` and of ``params.yaml``.

Unknown keys, wrong types and values out of range are refused with one line that names file, field, value and remedy.
Times are in epochs as in the paper; one epoch is ``ceil(train / batch)`` steps.
"""

import difflib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from l2dynamics import inheritance

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
MAX_STEPS = 1_000_000_000
"""No run of the paper is longer; a longer one is taken for a slip of the pen."""
MAX_RUNS = 100_000
EXAMPLES = {"mnist": 60_000, "cifar10": 50_000, "imagenet2012": 1_281_167}


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number: write one, such as 1, in place of true or false")
    return value


# YAML's true would pass for 1. The upper bounds only keep slips of the pen from filling the memory.
_NUMBER = BeforeValidator(_no_switch)
PositiveInt = Annotated[int, Field(gt=0, lt=2**31), _NUMBER]
PositiveFloat = Annotated[float, Field(gt=0), _NUMBER]
NonNegative = Annotated[float, Field(ge=0), _NUMBER]
Size = Annotated[int, Field(gt=0, le=100_000), _NUMBER]
Depth = Annotated[int, Field(gt=0, le=1000), _NUMBER]
Fraction = Annotated[float, Field(gt=0, lt=1), _NUMBER]
Evaluations = Annotated[int, Field(ge=2, le=100_000), _NUMBER]
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
    image_size: Size | None = None


class FcModel(Strict):
    """Fully connected, ``depth`` hidden ReLU layers of ``width``."""

    kind: Literal["fc"]
    depth: Depth = 3
    width: Size


class CnnModel(Strict):
    """The CNN of SM A with or without batch norm; the paper: 300 channels, 500 units, window 6, stride 1."""

    kind: Literal["cnn"]
    channels: Size
    dense: Size
    batch_norm: bool
    pool_window: Size
    pool_stride: Size


class WrnModel(Strict):
    """Wide ResNet ``depth``-``widen`` (Zagoruyko & Komodakis 2016); the paper: 28-10."""

    kind: Literal["wrn"]
    depth: Depth
    widen: Size

    @model_validator(mode="after")
    def _depth(self) -> "WrnModel":
        if self.depth % 6 != 4:
            raise ValueError(f"depth {self.depth} is not 6n + 4: take 10, 16, 22, 28, …")
        return self


class ResNetModel(Strict):
    """Bottleneck ResNet; ResNet-50: blocks [3, 4, 6, 3], width 64, ImageNet stem."""

    kind: Literal["resnet"]
    blocks: tuple[Depth, ...] = Field(min_length=1, max_length=16)
    width: Size
    stem: Literal["imagenet", "cifar"]


Model = Annotated[FcModel | CnnModel | WrnModel | ResNetModel, Field(discriminator="kind")]


class Schedule(Strict):
    """Piecewise-constant learning rate: multiplied by ``factor`` at each fraction of the run in ``at``."""

    factor: PositiveFloat
    at: tuple[Fraction, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _increasing(self) -> "Schedule":
        if list(self.at) != sorted(set(self.at)):
            raise ValueError(f"at must increase: sort {list(self.at)} and drop repetitions")
        return self


class Setup(Strict):
    """What is trained on what and how; everything but η, λ, σw, seed and length, which are traced."""

    data: Data
    model: Model
    # softmax: cross-entropy divided by 2 · classes, as the paper's; mse: the same for squared errors.
    loss: Loss = "softmax"
    # Examples per update; the size of the training set for full-batch descent.
    batch: PositiveInt
    momentum: Annotated[float, Field(ge=0, lt=1), _NUMBER] = 0.0
    # Horizontal flips, crops after padding by 4 pixels, mixup.
    augment: bool = False
    # None: a constant learning rate.
    schedule: Schedule | None = None
    # Initial weights are N(0, sigma_w² / inputs), biases N(0, sigma_b²); a grid may vary sigma_w.
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
            raise ValueError(
                f"batch {self.batch} must be a multiple of bn_group {self.bn_group}: change one of them"
            )
        if self.data.train is not None and self.batch > self.data.train:
            raise ValueError(f"batch {self.batch} is larger than data.train {self.data.train}: lower it")
        return self

    def steps_per_epoch(self, examples: int) -> int:
        """Steps of one epoch over ``examples`` training examples."""
        return -(-examples // self.batch)

    def steps(self, epochs: float) -> float:
        """Steps of so many epochs; where ``data.train`` is not given, of the full set."""
        return epochs * self.steps_per_epoch(self.data.train or EXAMPLES[self.data.name])


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
            given = ", ".join(name for name, value in self.__dict__.items() if value is not None) or "none"
            raise ValueError(f"give exactly one of epochs, product, inverse_l2, inverse_eta, not {given}")
        return self

    def of(self, eta: float, l2: float) -> float:
        """Epochs T for learning rate ``eta`` and coefficient ``l2``; infinite where η λ vanishes."""
        if self.epochs is not None:
            return self.epochs
        if self.inverse_eta is not None:
            return self.inverse_eta / eta
        if self.product is not None:
            return self.product / (eta * l2) if eta * l2 else math.inf
        assert self.inverse_l2 is not None
        return self.inverse_l2 / l2


Positives = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
NonNegatives = Annotated[tuple[NonNegative, ...], Field(min_length=1)]


def _unique(name: str, values: Sequence[float] | None) -> None:
    if values is not None and len(set(values)) != len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"{name} lists a value twice: remove one {twice:g}")


def _runnable(setup: Setup, lengths: Iterator[tuple[str, float | None]], seeds: int) -> None:
    """Refuse more runs or steps than anyone means; ``lengths`` are names and epochs of the runs of one seed."""
    count = 0
    for name, epochs in lengths:
        count += epochs is not None
        if epochs is not None and not setup.steps(epochs) <= MAX_STEPS:
            raise ValueError(
                f"{name} needs {setup.steps(epochs):.2g} steps, more than {MAX_STEPS:.0e}: "
                "shorten its length, raise η·λ or set max_epochs"
            )
    if count * seeds > MAX_RUNS:
        raise ValueError(f"{count * seeds:.2g} runs are more than {MAX_RUNS}: lower seeds ({seeds:.2g})")


def _complete_length(l2: Sequence[float], length: Length, zero: Length | None) -> None:
    if 0.0 in l2 and length.epochs is None:
        if zero is None:
            raise ValueError("l2 contains 0: give its length as zero: {epochs: …} or {inverse_eta: …}")
        if zero.product is not None or zero.inverse_l2 is not None:
            raise ValueError("zero is the length of λ = 0: only epochs or inverse_eta make sense")
    if any(value > 0 for value in l2) and length.inverse_eta is not None:
        raise ValueError(
            "length: inverse_eta is for λ = 0 only (zero:): give epochs, product or inverse_l2 here"
        )


class Grid(Strict):
    """Every combination of η, λ, σw and seed, each trained for ``length`` (λ = 0: for ``zero``)."""

    # What figures and claims find the runs by.
    group: Literal["grid", "fixed", "scaled", "budget"] = "grid"
    # Learning rates η.
    eta: Positives
    # Coefficients λ.
    l2: NonNegatives
    # None: that of the setup.
    sigma_w: Positives | None = None
    # Seeds `seed`, `seed` + 1, … of params.yaml.
    seeds: PositiveInt = 1
    # How long a run is.
    length: Length
    # How long a run with λ = 0 is.
    zero: Length | None = None
    # Combinations that need more epochs than this are left out, as in the paper (Fig. 2d–f: 4000).
    max_epochs: PositiveFloat | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Grid":
        for name in ("eta", "l2", "sigma_w"):
            _unique(name, getattr(self, name))
        _complete_length(self.l2, self.length, self.zero)
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
    # Training budgets T in epochs; at these times all runs of the sweep are evaluated, those of the grid too.
    budgets: Positives
    multiples: tuple[Literal[1, 2], ...] = Field((1, 2), min_length=1)
    seeds: PositiveInt = 1

    @model_validator(mode="after")
    def _distinct(self) -> "Predicted":
        _unique("budgets", self.budgets)
        _unique("multiples", self.multiples)
        return self


class Resources(Strict):
    """What one job of a sweep takes: CPU cores, accelerators and memory.

    Without an accelerator the job computes on exactly ``cpus`` cores, whoever executes it: the number of threads
    decides the order of sums. Ray places the job by both numbers; a fraction of a GPU shares it among jobs.
    """

    cpus: PositiveInt = 1
    gpus: NonNegative = 0.0
    # Gigabytes that the weights, gradients and activations of a job may take: a bucket that needs more is divided.
    memory: PositiveFloat = 16.0

    @model_validator(mode="after")
    def _whole(self) -> "Resources":
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: {self.gpus:g}: a job takes a fraction of one GPU or whole ones")
        return self


FIRST_EVALUATION = 1 / 200
"""Where the log-spaced evaluations of a run begin, as a fraction of its length, if its section does not say."""


class Sweep(Strict):
    """One sweep: a setup, its grids and how often a run is evaluated (log-spaced steps)."""

    # What is trained.
    setup: Setup
    # How often a run is evaluated, at log-spaced steps.
    evaluations: Evaluations = 40
    # Where these begin, as a fraction of the run's length. Lengths ∝ 1/(ηλ) put t* at about one fraction of every run:
    # from somewhat before it the same number of evaluations resolves it better.
    first_evaluation: Fraction = FIRST_EVALUATION
    # Which runs.
    grids: tuple[Grid, ...] = Field(min_length=1)
    # Runs at λ = c/T besides.
    predicted: Predicted | None = None
    # Runs of equal length trained side by side by vmap; pays for small fully connected nets and on accelerators.
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _bucket(self) -> "Sweep":
        if self.bucket > 1 and self.setup.model.kind != "fc":
            raise ValueError(
                f"bucket {self.bucket} is for fc models only (convolutions under vmap become grouped ones): "
                "set bucket: 1"
            )
        return self

    @model_validator(mode="after")
    def _lengths(self) -> "Sweep":
        runs = 0
        for index, grid in enumerate(self.grids):
            lengths = (
                (f"grids.{index}: η = {eta:g}, λ = {l2:g}", grid.epochs(eta, l2))
                for eta in grid.eta
                for l2 in grid.l2
            )
            _runnable(self.setup, lengths, grid.seeds * len(grid.sigma_w or (1,)))
            runs += sum(grid.epochs(eta, l2) is not None for eta in grid.eta for l2 in grid.l2)
        if not runs:
            raise ValueError("grids: max_epochs leaves every run out: raise it")
        if self.predicted is not None:
            budgets = ((f"predicted: budget {budget:g}", budget) for budget in self.predicted.budgets)
            _runnable(self.setup, budgets, self.predicted.seeds * len(self.predicted.multiples))
        return self


class Controller(Strict):
    """AutoL2 (Algorithm 1): decay factor, measurement interval in steps, refractory period in steps times λ."""

    decay: Fraction = 0.1
    every: PositiveInt = 10
    refractory: NonNegative = 0.1


class AutoL2Sweep(Strict):
    """AutoL2 against constant coefficients: same budget, same seeds."""

    setup: Setup
    evaluations: Evaluations = 40
    # Learning rate η of all runs.
    eta: PositiveFloat
    # Length T of all runs.
    epochs: PositiveFloat
    # The constant coefficients that AutoL2 is compared with.
    l2: Positives
    seeds: PositiveInt
    controller: Controller = Controller()
    # λ0 of the AutoL2 runs (the paper: 0.1): of all for the first of ``measures``, of the first for the others.
    init_l2: Positives = (0.1,)
    # Where AutoL2 measures loss and error: on the minibatch, on a fixed training subset.
    measures: tuple[Measure, ...] = Field(("minibatch", "subset"), min_length=1)
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "AutoL2Sweep":
        _unique("l2", self.l2)
        _unique("init_l2", self.init_l2)
        if len(set(self.measures)) != len(self.measures):
            raise ValueError("measures lists a value twice: remove one")
        _runnable(self.setup, iter([(f"epochs {self.epochs:g}", self.epochs)]), self.seeds)
        return self


class MeasureC(Strict):
    """Short runs at large λ that measure c = t* λ of one setup (Section 3)."""

    setup: Setup
    evaluations: Evaluations = 60
    # Learning rate η.
    eta: PositiveFloat
    # Large coefficients λ: their runs are short.
    l2: Positives
    seeds: PositiveInt = 1
    length: Length
    bucket: PositiveInt = 1
    resources: Resources | None = None

    @model_validator(mode="after")
    def _grid(self) -> "MeasureC":
        _unique("l2", self.l2)
        _complete_length(self.l2, self.length, None)
        lengths = ((f"η = {self.eta:g}, λ = {l2:g}", self.length.of(self.eta, l2)) for l2 in self.l2)
        _runnable(self.setup, lengths, self.seeds)
        return self


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
    workers: Annotated[int, Field(ge=0, le=100_000), _NUMBER] = 0


class Params(Strict):
    """params.yaml: what does not depend on the scale."""

    # Which file of scales/ holds the numbers.
    scale: Literal["smoke", "laptop", "accelerator", "paper"]
    # First seed; a grid with n seeds takes seed, …, seed + n − 1.
    # A grid of n seeds goes up to seed + n − 1, and seeds are 32-bit integers.
    seed: Annotated[int, Field(ge=0, lt=2**31 - MAX_RUNS), _NUMBER] = 0
    # sample: the examples in data/sample/; tfds: the full sets, in TFDS_DATA_DIR.
    data: dict[Literal["source"], Literal["sample", "tfds"]]
    # Who executes the runs.
    executor: Executor = Executor()
    # Look of the figures: paper (column width) or slides (large).
    figures: dict[Literal["style"], Literal["paper", "slides"]] = {"style": "paper"}

    @model_validator(mode="after")
    def _filled(self) -> "Params":
        for name, mapping, key in (
            ("data", self.data, "source: sample"),
            ("figures", self.figures, "style: paper"),
        ):
            if not mapping:
                raise ValueError(f"{name} is empty: write {name}: {{{key}}}")
        return self


Section = TypeVar("Section", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does (1e-4 is a number).

    Raises:
        ConfigError: the file is missing, is not YAML or is not a mapping.
    """
    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file: restore it with `git checkout`") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}): restore it") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}: correct it") from error
    except (ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: a value cannot be read ({reason}): correct it") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of sections, such as `seed: 0`")
    return content


_REMEDIES = (  # by the beginning of pydantic's name of the problem
    ("missing", "add it"),
    ("int", "write a whole number, without unit or quotes"),
    ("float", "write a number, without unit or quotes"),
    ("finite", "write a finite number"),
    ("bool", "write true or false"),
    ("tuple", "write a list, such as [0.1]"),
    ("dict", "write a mapping {name: value}"),
    ("model", "write a mapping {name: value}"),
    ("literal", "choose one of these"),
    ("union_tag_invalid", "choose one of these"),
    ("union_tag", "add kind: fc, cnn, wrn or resnet"),
    ("greater", "raise it"),
    ("less", "lower it"),
    ("too_short", "add a value"),
    ("too_long", "remove some"),
    ("string", "write a text"),
)


def _remedy(problem: Any, known: Sequence[str]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return ""  # our own messages say it
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
        return f": write {close[0]} or remove it" if close else ": remove it"
    if kind == "less_than" and context.get("lt") == 1:
        return ": give a fraction, such as 0.3"
    return f": {next((remedy for start, remedy in _REMEDIES if kind.startswith(start)), 'correct it')}"


def _field(location: Sequence[Any], content: Any, missing: bool) -> str:
    """The path of a value as it stands in the file: pydantic adds the kind of a model, which is no key there."""
    parts = []
    for index, part in enumerate(location):
        last = missing and index == len(location) - 1
        inside = part in content if isinstance(content, dict) else isinstance(part, int)
        if not (inside or last):
            continue
        text = str(part)
        parts.append(text if text.isprintable() and len(text) < 60 else f"{text[:60]!r}")
        try:
            content = content[part]
        except (LookupError, TypeError):
            content = None
    return ".".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
        return ""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, a mapping that holds itself
        text = type(value).__name__
    return f" (got {text if len(text) <= 80 else text[:79] + '…'})"


def _complaints(error: ValidationError, section: type[BaseModel], content: Any) -> Iterator[str]:
    schema = section.model_json_schema()
    models = [schema, *schema.get("$defs", {}).values()]
    known = sorted({name for model in models for name in model.get("properties", {})})
    for problem in error.errors(include_url=False):
        field = _field(problem["loc"], content, problem["type"] == "missing")
        message = " ".join(problem["msg"].removeprefix("Value error, ").split())
        # A rule between fields names them and their values itself.
        shown = "" if problem["type"] in {"missing", "value_error"} else _shown(problem.get("input"))
        yield f"{field + ': ' if field else ''}{message}{shown}{_remedy(problem, known)}"


def check(section: type[Section], content: Any, where: str) -> Section:
    """Validate ``content`` as ``section``; ``where`` names file and section in the message.

    Raises:
        ConfigError: one line with every complaint.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_complaints(error, section, content))) from error


def load_params(root: Path) -> Params:
    """Read and check params.yaml; ``$L2DYNAMICS_EXECUTOR``, such as ``ray`` or ``processes:4``, wins over it."""
    params = check(Params, read_yaml(root / "params.yaml"), "params.yaml")
    if chosen := os.environ.get(EXECUTOR_VARIABLE):
        kind, _, workers = chosen.partition(":")
        executor = check(Executor, {"kind": kind, "workers": workers or 0}, f"{EXECUTOR_VARIABLE}={chosen}")
        return params.model_copy(update={"executor": executor})
    return params


def sweep_names(root: Path, scale: str) -> list[str]:
    """Sections of ``scales/<scale>.yaml`` that are sweeps: those of the paper, and one's own."""
    path = root / f"scales/{scale}.yaml"
    own = [
        name for name, content in read_yaml(path).items() if isinstance(content, dict) and "grids" in content
    ]
    return list(dict.fromkeys([*SWEEPS, *own]))


def load_section(root: Path, scale: str, name: str, section: type[Section]) -> Section:
    """Read and check one section of ``scales/<scale>.yaml``, with the setups that it inherits filled in.

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
            raise ConfigError(f"{where}: section {name} is missing: add it, as in the other scales")
        node = node[part]
    try:
        node, inherited = inheritance.resolve(content, node, name)
    except inheritance.InheritanceError as error:
        raise ConfigError(f"{where}: {error}") from error
    # First on their own: then a complaint about the section is about what stands in the section.
    for base, setup in inherited.items():
        check(Setup, setup, f"{where}: {inheritance.SETUPS}.{base}")
    return check(section, node, f"{where}: {name}")
