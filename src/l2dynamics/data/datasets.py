"""Images and labels as arrays, read through ``tfds.data_source`` and checked against the manifest.

Two sources: ``sample``, the first examples of MNIST and CIFAR-10 that lie in ``data/sample``; and ``tfds``,
the full sets in ``$TFDS_DATA_DIR``. Loading never downloads: stage ``data@NAME`` does.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l2dynamics import paths
from l2dynamics.data import manifests, records, specs
from l2dynamics.data.imagenet import LazyImages, read_labels

Images = NDArray[np.uint8] | LazyImages

_CHUNK = 1024
# Statistics of the ImageNet training set in common use: computing them would decode 1.28 million images.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Dataset:
    """A training and a test set in memory (ImageNet: decoded when indexed).

    Attributes:
        name: TFDS name.
        source: ``sample`` or ``tfds``.
        version: TFDS version.
        classes: number of classes k.
        train_images: uint8 [N, H, W, C]; for ImageNet a :class:`~l2dynamics.data.imagenet.LazyImages`.
        train_labels: int32 [N].
        test_images: uint8 [M, H, W, C], or lazy as above.
        test_labels: int32 [M].
        mean: float32 [C], mean of the training images in use, in units of x / 255.
        std: float32 [C], their standard deviation in the same units.
        digest: SHA-256 of what was loaded.
    """

    name: str
    source: str
    version: str
    classes: int
    train_images: Images
    train_labels: NDArray[np.int32]
    test_images: Images
    test_labels: NDArray[np.int32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    digest: str

    def record(self) -> dict[str, Any]:
        """What a passport says about the data."""
        return {
            "name": self.name,
            "source": self.source,
            "version": self.version,
            "train": len(self.train_labels),
            "test": len(self.test_labels),
            "image_size": int(self.train_images.shape[1]),
            "digest": self.digest,
        }


def load(
    name: str,
    *,
    train: int | None,
    test: int | None,
    image_size: int | None = None,
    source: str = "sample",
    root: Path | str | None = None,
    verify_manifest: bool = True,
) -> Dataset:
    """Load the first examples of both splits.

    Args:
        name: ``mnist``, ``cifar10`` or ``imagenet2012``.
        train: number of training examples; None takes all.
        test: number of test examples; None takes all.
        image_size: side in pixels after averaging squares of pixels; it must divide the original side. None
            keeps the size. For ImageNet the side of the centre crop (None: 224).
        source: ``sample`` or ``tfds``.
        root: the checkout; None searches it from the working directory.
        verify_manifest: compare the record files with the manifest first.

    Raises:
        ValueError: an argument is wrong, or the data are missing, damaged or not those of the manifest. The
            message is one line that names the field or file and the remedy.
    """
    root = None if root is None else Path(root)
    details = specs.spec(name, source)
    for field, value in (("train", train), ("test", test), ("image_size", image_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"data.{field}: {value!r} is not a positive whole number")
    if not details.lazy and image_size is not None and details.shape[0] % image_size:
        sides = [n for n in range(1, details.shape[0] + 1) if details.shape[0] % n == 0]
        raise ValueError(
            f"data.image_size: {image_size} does not divide {details.shape[0]}; use one of {sides}"
        )

    folder = records.data_dir(source, root)
    if verify_manifest:
        manifest = manifests.read_manifest(name, source, paths.find_root() if root is None else root)
        if records.is_prepared(name, folder):
            manifests.check(manifest, folder)
    builder = records.open_builder(name, folder)
    files = records.record_files(name, builder, folder)

    counts = {"train": train, "test": test}
    if details.lazy:
        return _load_lazily(
            name, builder, files, counts, details.shape[0] if image_size is None else image_size, root
        )
    size = details.shape[0] if image_size is None else image_size
    parts = {}
    for split, tfds_split in details.splits.items():
        with records.quiet():
            parts[split] = _decode(
                _open(name, builder, split, tfds_split, counts[split], source), details, size
            )
    mean, std = channel_statistics(parts["train"][0])
    return Dataset(
        name=name,
        source=source,
        version=details.version,
        classes=details.classes,
        train_images=parts["train"][0],
        train_labels=parts["train"][1],
        test_images=parts["test"][0],
        test_labels=parts["test"][1],
        mean=mean,
        std=std,
        digest=_digest(*parts["train"], *parts["test"]),
    )


def average_pool(images: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average squares of ``factor`` × ``factor`` pixels of uint8 [N, H, W, C], halves rounded up."""
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    area = factor * factor
    return ((squares.sum(axis=(2, 4), dtype=np.uint32) + area // 2) // area).astype(np.uint8)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation [C] of uint8 [N, H, W, C] in units of x / 255.

    They are computed from whole-number counts, so that they are the same on every machine.
    """
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel in range(channels):
            counts[channel] += np.bincount(
                images[start : start + _CHUNK, ..., channel].ravel(), minlength=256
            )
    pixels = images.size // channels
    means, deviations = [], []
    for histogram in counts.tolist():
        # Python's whole numbers: the squares of the full CIFAR-10 overflow 64 bits.
        first = sum(value * count for value, count in enumerate(histogram))
        second = sum(value * value * count for value, count in enumerate(histogram))
        means.append(first / pixels / 255)
        deviations.append(math.sqrt((pixels * second - first * first) / pixels**2) / 255)
    return np.array(means, np.float32), np.array(deviations, np.float32)


def _open(
    name: str, builder: Any, split: str, tfds_split: str, count: int | None, source: str, decoders: Any = None
) -> Any:
    """Return ``tfds.data_source`` over the first ``count`` examples of a split."""
    import tensorflow_datasets as tfds

    available = builder.info.splits[tfds_split].num_examples
    if count is not None and count > available:
        remedy = " or set data.source: tfds" if source == "sample" else ""
        raise ValueError(
            f"data.{split}: {count} examples are asked for, the {source} of {name} has {available}; "
            f"use at most {available}{remedy}"
        )
    return tfds.data_source(
        f"{name}:{specs.SPECS[name].version}",
        split=f"{tfds_split}[:{available if count is None else count}]",
        data_dir=builder.data_path.parent.parent,
        download=False,
        decoders=decoders,
    )


def _decode(examples: Any, details: specs.Spec, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Decode all examples, [N, size, size, C] and [N]."""
    side, _, channels = details.shape
    images = np.empty((len(examples), size, size, channels), np.uint8)
    labels = np.empty(len(examples), np.int32)
    for start in range(0, len(examples), _CHUNK):
        rows = list(range(start, min(start + _CHUNK, len(examples))))
        try:
            chunk = examples.__getitems__(rows)
        except Exception as error:
            raise ValueError(
                f"{examples!r}: records {rows[0]} to {rows[-1]} cannot be read "
                f"({type(error).__name__}: {error}); restore the record files (see data/README.md)"
            ) from error
        images[rows] = average_pool(np.stack([example["image"] for example in chunk]), side // size)
        labels[rows] = [example["label"] for example in chunk]
    return images, labels


def _load_lazily(
    name: str,
    builder: Any,
    files: dict[str, Path],
    counts: dict[str, int | None],
    size: int,
    root: Path | None,
) -> Dataset:
    """Return a data set whose images are decoded when they are indexed; labels are kept in ``work/data``."""
    import tensorflow_datasets as tfds

    details = specs.SPECS[name]
    # The records are too many to hash at every start: names and sizes stand for them.
    note = json.dumps(
        [name, details.version, {file: path.stat().st_size for file, path in files.items()}, size]
    )
    images, labels = {}, {}
    for split, tfds_split in details.splits.items():
        skip = {"image": tfds.decode.SkipDecoding()}
        examples = _open(name, builder, split, tfds_split, counts[split], "tfds", decoders=skip)
        images[split] = LazyImages(examples, size)
        key = hashlib.sha256(f"{note}{split}{len(examples)}".encode()).hexdigest()[:16]
        cache = None if root is None else paths.work(root) / "data" / f"{name}-{split}-{key}.npy"
        labels[split] = read_labels(examples, cache)
    return Dataset(
        name=name,
        source="tfds",
        version=details.version,
        classes=details.classes,
        train_images=images["train"],
        train_labels=labels["train"],
        test_images=images["test"],
        test_labels=labels["test"],
        mean=np.array(_IMAGENET_MEAN, np.float32),
        std=np.array(_IMAGENET_STD, np.float32),
        digest=_digest(labels["train"], labels["test"], note=note),
    )


def _digest(*arrays: NDArray[Any], note: str = "") -> str:
    """Return the SHA-256 of shapes, types and contents."""
    digest = hashlib.sha256(note.encode())
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
