"""What is trained on what, and how: data, network, loss, optimiser; everything of a run that is not traced."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from l2dynamics.data.specs import SPECS
from l2dynamics.experiments.fields import (
    NUMBER,
    Depth,
    Fraction,
    NonNegative,
    PositiveFloat,
    PositiveInt,
    Size,
    Strict,
)

Loss = Literal["softmax", "mse"]
L2On = Literal["all", "scale_invariant", "others"]
Measure = Literal["minibatch", "subset"]
Optimizer = Literal["sgd", "adam", "adamw"]
PauseClock = Literal["steps", "eta"]


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


class StepSchedule(Strict):
    """Piecewise-constant learning rate: multiplied by ``factor`` at each fraction of the run in ``at``."""

    shape: Literal["step"] = "step"
    factor: PositiveFloat
    at: tuple[Fraction, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _increasing(self) -> "StepSchedule":
        if list(self.at) != sorted(set(self.at)):
            raise ValueError(f"at must increase: sort {list(self.at)} and drop repetitions")
        return self


class CosineSchedule(Strict):
    """A learning rate that falls to 0 over the run as half a period of a cosine."""

    shape: Literal["cosine"]


def _shape(value: Any) -> str:
    return (
        str(value.get("shape", "step")) if isinstance(value, dict) else str(getattr(value, "shape", "step"))
    )


Schedule = Annotated[
    Annotated[StepSchedule, Tag("step")] | Annotated[CosineSchedule, Tag("cosine")],
    Discriminator(
        _shape,
        custom_error_type="schedule",
        custom_error_message="is neither of steps nor a cosine",
    ),
]


class Setup(Strict):
    """What is trained on what and how; everything but η, λ, σw, seed and length, which are traced."""

    data: Data
    model: Model
    # softmax: cross-entropy divided by 2 · classes, as the paper's; mse: the same for squared errors.
    loss: Loss = "softmax"
    # Examples per update; the size of the training set for full-batch descent.
    batch: PositiveInt
    # sgd, with momentum if any; adam: L2 in the gradient as with sgd; adamw: decoupled weight decay.
    optimizer: Optimizer = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    # Which weights L2 acts on: all, as in the paper; those whose scale batch norm removes; or all but those.
    l2_on: L2On = "all"
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
    # Measure besides ln ‖w‖ of the weights whose scale batch norm removes, by layer: from it follows how far steps turn
    # them (vanilla SGD, where batch norm removes the scale of each output channel: not WRN).
    weight_norms: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _momentum(self) -> "Setup":
        if self.optimizer != "sgd" and self.momentum:
            raise ValueError(
                f"momentum {self.momentum:g} is for optimizer sgd, and {self.optimizer} has its own: remove it"
            )
        return self

    @model_validator(mode="after")
    def _invariant(self) -> "Setup":
        given = [f"l2_on: {self.l2_on}"] if self.l2_on != "all" else []
        given += ["weight_norms: true"] if self.weight_norms else []
        if given and not (
            isinstance(self.model, WrnModel | ResNetModel) or getattr(self.model, "batch_norm", False)
        ):
            raise ValueError(
                f"{given[0]} is about weights whose scale batch norm removes, and model {self.model.kind} has none: "
                "remove it, or take a model with batch norm"
            )
        return self

    @model_validator(mode="after")
    def _groups(self) -> "Setup":
        if self.bn_group is not None and self.batch % self.bn_group:
            raise ValueError(
                f"batch {self.batch} must be a multiple of bn_group {self.bn_group}: change one of them"
            )
        if self.data.train is not None and self.batch > self.data.train:
            raise ValueError(f"batch {self.batch} is larger than data.train {self.data.train}: lower it")
        return self

    def steps_per_epoch(self, examples: int | None = None) -> int:
        """``ceil(examples / batch)``; the last batch of an epoch is filled up with its first examples.

        Args:
            examples: training examples; None takes ``data.train`` or, where that is not given, the full set.
        """
        count = examples or self.data.train or SPECS[self.data.name].examples
        return -(-count // self.batch)
