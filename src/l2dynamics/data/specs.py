"""What is known of a data set before it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass

SOURCES = ("sample", "tfds")


@dataclass(frozen=True)
class Spec:
    """What is known of a data set before it is opened.

    Attributes:
        version: of TFDS.
        classes: number of classes k.
        examples: training examples of the full set.
        shape: ``(height, width, channels)`` of the images as networks see them unless a section asks for another size.
        splits: ours and TFDS's names of the splits in use.
        sampled: whether ``data/sample`` holds its first examples.
        lazy: whether images stay compressed until they are indexed, cropped to ``shape``.
    """

    version: str
    classes: int
    examples: int
    shape: tuple[int, int, int]
    splits: Mapping[str, str]
    sampled: bool
    lazy: bool = False


TRAIN_TEST = {"train": "train", "test": "test"}
SPECS = {
    "mnist": Spec("3.0.1", 10, 60_000, (28, 28, 1), TRAIN_TEST, sampled=True),
    "cifar10": Spec("3.0.2", 10, 50_000, (32, 32, 3), TRAIN_TEST, sampled=True),
    # The labels of ImageNet's test split were never published; the paper's test set is the validation split.
    "imagenet2012": Spec(
        "5.1.0",
        1000,
        1_281_167,
        (224, 224, 3),
        {"train": "train", "test": "validation"},
        sampled=False,
        lazy=True,
    ),
}


def spec(name: str, source: str) -> Spec:
    """Return the specification of a data set, refusing unknown names and sources.

    Raises:
        ValueError: ``name`` or ``source`` is unknown, or the data set has no embedded sample.
    """
    if name not in SPECS:
        raise ValueError(f"data.name: unknown data set {name!r}; use one of {', '.join(SPECS)}")
    if source not in SOURCES:
        raise ValueError(f"data.source: unknown source {source!r}; use one of {', '.join(SOURCES)}")
    if source == "sample" and not SPECS[name].sampled:
        raise ValueError(f"data.source: there is no sample of {name}; set it to tfds (see data/README.md)")
    return SPECS[name]
