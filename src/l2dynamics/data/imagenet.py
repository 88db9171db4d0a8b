"""ImageNet, too large for memory: images are decoded when they are indexed, labels are read once."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Evaluation crops of the field: the shorter side is 256 pixels for a crop of 224.
_MARGIN = 256 / 224
_CHUNK = 1024


def centre_crop(encoded: bytes, size: int) -> NDArray[np.uint8]:
    """Decode a JPEG, scale its shorter side to ``size`` · 256/224, cut the centre: uint8 [size, size, 3]."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        side = round(size * _MARGIN)
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost; twice the target keeps the result clean.
        image.draft("RGB", (2 * side, 2 * side))
        colour = image.convert("RGB")
    scale = side / min(colour.size)
    width, height = (max(side, round(length * scale)) for length in colour.size)
    resized = colour.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(resized.crop((left, top, left + size, top + size)))


class LazyImages:
    """Images that look like a uint8 array [N, S, S, 3] and are decoded by threads when they are indexed.

    ``images[index]`` takes a whole number, a slice or a whole-number array and returns uint8 [..., S, S, 3].
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, examples: Any, size: int, workers: int | None = None):
        """Wrap a TFDS data source whose ``image`` entries are encoded JPEGs."""
        self._examples = examples
        self._workers = workers or os.cpu_count() or 1
        self.shape = (len(examples), size, size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        rows = np.arange(len(self))[index]
        size = self.shape[1]
        flat = [int(row) for row in rows.ravel()]
        # Read outside the pool: one call lets array_record read the records in parallel.
        encoded = [example["image"] for example in self._examples.__getitems__(flat)]
        with ThreadPoolExecutor(self._workers) as pool:
            images = list(pool.map(lambda image: centre_crop(image, size), encoded))
        return np.array(images, np.uint8).reshape(*rows.shape, size, size, 3)


def read_labels(examples: Any, cache: Path | None = None) -> NDArray[np.int32]:
    """Return all labels [N] of a data source, decoding no image.

    The records hold image and label together, so that the first call reads the whole set; ``cache`` keeps the
    result.
    """
    if cache is not None and cache.is_file():
        cached = np.load(cache, allow_pickle=False)
        if cached.shape == (len(examples),) and cached.dtype == np.int32:
            return cached
    labels = np.empty(len(examples), np.int32)
    for start in range(0, len(labels), _CHUNK):
        rows = list(range(start, min(start + _CHUNK, len(labels))))
        labels[rows] = [example["label"] for example in examples.__getitems__(rows)]
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, labels, allow_pickle=False)
        partial.replace(cache)
    return labels
