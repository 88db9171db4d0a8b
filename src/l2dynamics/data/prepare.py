"""Prepare the full data sets with TFDS, without TensorFlow and in the original order of the examples.

The official builders of tensorflow-datasets 4.9.10 need TensorFlow for two things only: opening local files,
and encoding images. Both are replaced here; downloads, their checksums, names and versions stay those of
TFDS. Examples of MNIST and CIFAR-10 keep the order of the original files (TFDS shuffles them by default), so
that "the first 512 samples of MNIST" mean the same as elsewhere and the sample in ``data/sample`` is the
beginning of the full set.
"""

import importlib
import io
import os
import shutil
import socket
import threading
import types
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from l2dynamics.data import manifests, records, specs
from l2dynamics.storage import line_endings

# Where TFDS downloads from; ImageNet needs archives fetched by hand.
HOSTS = {"mnist": "storage.googleapis.com", "cifar10": "www.cs.toronto.edu"}
_BUILDERS = {
    "mnist": ("tensorflow_datasets.image_classification.mnist", "MNIST"),
    "cifar10": ("tensorflow_datasets.image_classification.cifar", "Cifar10"),
    "imagenet2012": ("tensorflow_datasets.datasets.imagenet2012.imagenet2012_dataset_builder", "Builder"),
}
# Modules of TFDS on the way of a preparation that open files by TensorFlow.
_USING_TENSORFLOW = (
    "tensorflow_datasets.core.download.downloader",
    "tensorflow_datasets.core.download.extractor",
    "tensorflow_datasets.core.shuffle",
    "tensorflow_datasets.datasets.imagenet2012.imagenet_common",
)
_ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")


def prepare(name: str, source: str, root: Path | None = None) -> None:
    """Make sure that a data set can be opened: download and prepare it where it is not.

    Args:
        name: data set.
        source: ``sample`` (checked against its SHA256SUMS) or ``tfds``.
        root: the checkout; None searches it from the working directory.

    Raises:
        ValueError: the sample is damaged; there is no network (found out within 6 s); the archives of
        ImageNet are
            missing; or TFDS failed.
    """
    specs.spec(name, source)
    folder = records.data_dir(source, root)
    if source == "sample":
        check_sample(name, folder)
    if source == "sample" or records.is_prepared(name, folder):
        return
    where = f"{name} {specs.SPECS[name].version} is not prepared in {folder}"
    if name in HOSTS:
        if reason := unreachable(HOSTS[name]):
            raise ValueError(
                f"{where} and {HOSTS[name]} cannot be reached ({reason}): run this with a network, point "
                "TFDS_DATA_DIR at a prepared folder, or set data.source: sample in params.yaml"
            )
    elif name == "imagenet2012":
        manual = folder / "downloads" / "manual"
        if missing := [archive for archive in _ARCHIVES if not (manual / archive).is_file()]:
            raise ValueError(
                f"{where}: get {' and '.join(missing)} from image-net.org into {manual} "
                "(registration needed, see data/README.md)"
            )
    else:
        raise ValueError(f"{where}: prepare it there with TFDS, in array_record format")
    try:
        _build(name, folder)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{where}; preparing it failed ({type(error).__name__}: {reason}), try again"
        ) from error


def check_sample(name: str, folder: Path) -> None:
    """Compare the embedded sample of one data set with ``SHA256SUMS``.

    Raises:
        ValueError: a file is missing or changed; the file is named.
    """
    remedy = "restore it with `git checkout -- data/sample`"
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        raise ValueError(f"{sums} is missing: {remedy}")
    for line in sums.read_text().splitlines():
        expected, _, file = line.partition("  ")
        if not file.startswith(f"{name}/"):
            continue
        if not (folder / file).is_file():
            raise ValueError(f"{folder / file} is missing: {remedy}")
        if manifests.sha256(folder / file) != expected:
            if line_endings.converted((folder / file).read_bytes(), expected):
                raise ValueError(f"{folder / file} is corrupted: {line_endings.CONVERTED}")
            raise ValueError(f"{folder / file} is corrupted (its SHA-256 differs from SHA256SUMS): {remedy}")


def unreachable(host: str, port: int = 443, timeout: float = 3.0) -> str | None:
    """Tell why a host (or the proxy that leads to it) cannot be reached, None if it can.

    TFDS alone would try for minutes. Resolving a name has no timeout of its own, hence the thread.
    """
    proxies = urllib.request.getproxies()
    if (proxy := proxies.get("https") or proxies.get("all")) and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = parts.hostname or host, parts.port or port
    outcome: list[str | None] = []

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=timeout):
                outcome.append(None)
        except OSError as error:
            outcome.append(str(error))

    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(2 * timeout)
    return outcome[0] if outcome else f"no answer within {2 * timeout:.0f} s"


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of a module for a while."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def builder_class(name: str) -> Any:
    """Return the official TFDS builder of a data set, made independent of TensorFlow."""
    import tensorflow_datasets as tfds
    from PIL import Image

    module_name, class_name = _BUILDERS[name]
    official = getattr(importlib.import_module(module_name), class_name)

    if name == "imagenet2012":

        def fix_image(self: Any, file_name: str, image: Any) -> Any:
            """Convert the 22 CMYK images and the PNG of ImageNet to RGB JPEGs, as TFDS does by TensorFlow."""
            module = importlib.import_module(module_name)
            if file_name not in (*module.CMYK_IMAGES, *module.PNG_IMAGES):
                return image
            encoded = io.BytesIO()
            Image.open(io.BytesIO(image.read())).convert("RGB").save(encoded, "JPEG", quality=100)
            return io.BytesIO(encoded.getvalue())

        changes: dict[str, Any] = {"_fix_image": fix_image}
    else:

        def info(self: Any) -> Any:
            described = official._info(self)
            described.as_proto.disable_shuffling = True
            return described

        def generate_examples(self: Any, *args: Any, **kwargs: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            for key, example in official._generate_examples(self, *args, **kwargs):
                yield key, {**example, "image": Image.fromarray(np.squeeze(example["image"]))}

        changes = {"_info": info, "_generate_examples": generate_examples}
    # TFDS finds checksums and descriptions by the module of the class; without them it accepts any download.
    changes |= {"name": name, "__module__": official.__module__, "url_infos": official.url_infos}
    with tfds.core.registered.skip_registration():
        return type(class_name, (official,), changes)


def _file_functions() -> types.SimpleNamespace:
    """Return the part of the name ``tf`` that TFDS uses to open local files."""
    space = types.SimpleNamespace
    return space(
        io=space(
            gfile=space(
                GFile=open, exists=os.path.exists, remove=os.remove, copy=shutil.copyfile, rename=os.replace
            )
        ),
        compat=space(as_text=os.fspath),
        errors=space(ResourceExhaustedError=OSError, UnimplementedError=NotImplementedError),
    )


def _build(name: str, folder: Path) -> None:
    """Download and prepare one data set into a TFDS folder, in array_record format."""
    import tensorflow_datasets as tfds

    stand_in = _file_functions()
    modules = [importlib.import_module(module) for module in (_BUILDERS[name][0], *_USING_TENSORFLOW)]
    with ExitStack() as stack:
        stack.enter_context(records.quiet())
        for module in modules:
            stack.enter_context(_replaced(module, "tf", stand_in))
        builder = builder_class(name)(data_dir=folder, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
