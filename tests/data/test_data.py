import dataclasses
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from l2dynamics import paths
from l2dynamics.data import datasets, decoded, imagenet, manifests, prepare, records, specs

SIZES = {"mnist": (2048, 10_000, 28, 1), "cifar10": (5000, 2000, 32, 3)}
full_data = pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="TFDS_DATA_DIR is not set: no full MNIST and CIFAR-10 here"
)


def write_manifest(name: str, root: Path, source: str = "sample") -> Path:
    target = paths.manifest(root, name, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(manifests.describe(name, source, root)))
    return target


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that holds only the sample of MNIST and its manifest."""
    shutil.copytree(ROOT / "data" / "sample" / "mnist", tmp_path / "data" / "sample" / "mnist")
    shutil.copy(ROOT / "data" / "sample" / "SHA256SUMS", tmp_path / "data" / "sample")
    write_manifest("mnist", tmp_path)
    return tmp_path


def record_file(root: Path, split: str = "train") -> Path:
    return root / "data" / "sample" / "mnist" / "3.0.1" / f"mnist-{split}.array_record-00000-of-00001"


def load(name: str, train: int | None = 64, test: int | None = 32, **options) -> datasets.Dataset:
    return datasets.load(name, train=train, test=test, **{"root": ROOT, "verify_manifest": False, **options})


@pytest.mark.parametrize("name", SIZES)
def test_sample_has_the_promised_size_and_the_original_order(name):
    train, test, side, channels = SIZES[name]
    began = time.process_time()
    loaded = load(name, None, None)
    assert time.process_time() - began < 1e-3 * (train + test)  # a quarter of that on an idle core
    assert loaded.train_images.shape == (train, side, side, channels)
    assert loaded.test_images.shape == (test, side, side, channels)
    assert loaded.train_images.dtype == loaded.test_images.dtype == np.uint8
    assert loaded.train_labels.shape == (train,)
    assert loaded.test_labels.shape == (test,)
    assert loaded.train_labels.dtype == loaded.test_labels.dtype == np.int32
    assert set(loaded.train_labels) == set(range(loaded.classes)) == set(loaded.test_labels)
    # The first labels of the original files, as every tutorial on these data sets prints them.
    known = {"mnist": ([5, 0, 4, 1, 9], [7, 2, 1, 0, 4]), "cifar10": ([6, 9, 9, 4, 1], [3, 8, 8, 0, 6])}[name]
    assert loaded.train_labels[:5].tolist() == known[0]
    assert loaded.test_labels[:5].tolist() == known[1]


def test_mean_and_std_are_those_of_the_training_images_in_use():
    loaded = load("cifar10", 300, 10)
    scaled = loaded.train_images.astype(np.float64) / 255
    np.testing.assert_allclose(loaded.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(loaded.std, scaled.std((0, 1, 2)), rtol=1e-6)
    assert loaded.mean.dtype == loaded.std.dtype == np.float32
    assert loaded.mean.shape == loaded.std.shape == (3,)


def test_fewer_examples_are_the_first_ones():
    few, more = load("mnist", 10, 7), load("mnist", 40, 20)
    np.testing.assert_array_equal(few.train_images, more.train_images[:10])
    np.testing.assert_array_equal(few.test_labels, more.test_labels[:7])
    assert few.digest != more.digest
    assert few.digest == load("mnist", 10, 7).digest


@pytest.mark.parametrize(("name", "size"), [("mnist", 14), ("mnist", 7), ("cifar10", 16), ("cifar10", 8)])
def test_image_size_averages_squares(name, size):
    whole, pooled = load(name).train_images, load(name, image_size=size).train_images
    factor = whole.shape[1] // size
    assert pooled.shape[1:3] == (size, size)
    assert pooled.dtype == np.uint8
    for row, column in [(0, 0), (size // 2, size // 3), (size - 1, size - 1)]:
        square = whole[:, factor * row : factor * (row + 1), factor * column : factor * (column + 1)]
        exact = square.astype(np.float64).mean((1, 2))
        np.testing.assert_array_equal(pooled[:, row, column], np.floor(exact + 0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "minst"}, r"data\.name: unknown data set 'minst'; use one of mnist, cifar10"),
        ({"name": "../mnist"}, r"data\.name: unknown"),
        ({"source": "web"}, r"data\.source: unknown source 'web'; use one of sample, tfds"),
        ({"name": "imagenet2012"}, r"data\.source: there is no sample of imagenet2012; set it to tfds"),
        (
            {"train": 2049},
            r"data\.train: 2049 examples .* has 2048; use at most 2048 or set data\.source: tfds",
        ),
        ({"test": 10_001}, r"data\.test: 10001 examples .* has 10000"),
        ({"train": 0}, r"data\.train: 0 is not a positive whole number"),
        ({"train": True}, r"data\.train: True is not"),
        ({"test": 2.5}, r"data\.test: 2\.5 is not a positive whole number"),
        ({"image_size": 15}, r"data\.image_size: 15 does not divide 28; use one of \[1, 2, 4, 7, 14, 28\]"),
        ({"image_size": 56}, r"data\.image_size: 56 does not divide 28"),
        ({"image_size": -7}, r"data\.image_size: -7 is not a positive"),
    ],
)
def test_bad_arguments_are_named_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(**{"name": "mnist", **arguments})
    assert "\n" not in str(caught.value)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped bit":
        content[len(content) // 2] ^= 1
    elif how == "truncated":
        del content[-1000:]
    elif how == "emptied":
        content.clear()
    path.unlink()
    if how != "deleted":
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["flipped bit", "truncated", "emptied", "deleted"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_record_file_is_named(checkout, split, how):
    assert len(load("mnist", root=checkout, verify_manifest=True).train_images) == 64
    damage(record_file(checkout, split), how)
    with pytest.raises(
        ValueError, match=f"mnist-{split}.array_record-00000-of-00001 .*dvc repro -f data@mnist"
    ) as e:
        load("mnist", root=checkout, verify_manifest=True)
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match=f"mnist-{split}.array_record-00000-of-00001 .*git checkout"):
        prepare.prepare("mnist", "sample", checkout)


def test_converted_line_endings_are_named(checkout):
    record = record_file(checkout)
    manifest = manifests.read_manifest("mnist", "sample", checkout)
    content = b"a\nb\n"
    key = record.relative_to(checkout / "data" / "sample").as_posix()
    manifest["files"][key] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    record.write_bytes(content)
    manifests.check(manifest, checkout / "data" / "sample")
    for damaged, reason in (
        (b"a\r\nb\r\n", "line endings were converted"),
        (b"a\r\nc\r\n", "6 bytes, 4 expected"),
    ):
        record.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{record.name} .*{reason}"):
            manifests.check(manifest, checkout / "data" / "sample")
    for file in ("dataset_info.json", "features.json"):
        path = record.with_name(file)
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(ValueError, match=r"dataset_info\.json is corrupted: line endings were converted"):
        prepare.prepare("mnist", "sample", checkout)


@pytest.mark.parametrize("how", ["truncated", "emptied", "deleted"])
def test_damaged_record_file_without_manifest_is_still_one_line(checkout, how):
    damage(record_file(checkout), how)
    with pytest.raises(ValueError, match="mnist"):
        load("mnist", None, None, root=checkout)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_damaged_metadata_are_named(checkout, file):
    (checkout / "data" / "sample" / "mnist" / "3.0.1" / file).write_text('{"name": ')
    with pytest.raises(ValueError, match=r"mnist/3\.0\.1: unreadable TFDS metadata .*restore") as caught:
        load("mnist", root=checkout)
    assert "\n" not in str(caught.value)


def test_decoded_images_are_kept_for_these_files_and_numbers(checkout, monkeypatch):
    asked = {"train": 20, "test": 10, "image_size": 14, "source": "sample", "root": checkout}
    first = decoded.load("mnist", **asked)
    (kept,) = (checkout / "work" / "data").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "load", None)  # not needed again
        again = decoded.load("mnist", **asked)
    plain = datasets.load("mnist", **asked)
    for found in (first, again):
        for field in dataclasses.fields(datasets.Dataset):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(plain, field.name))
        assert found.train_images.dtype == np.uint8

    content = bytearray(kept.read_bytes())
    content[-2000] ^= 1
    kept.write_bytes(content)
    assert decoded.load("mnist", **asked).digest == plain.digest  # damaged: decoded again
    assert decoded.load("mnist", **{**asked, "train": 19}).digest != plain.digest
    assert len(list(kept.parent.iterdir())) == 2
    with pytest.raises(ValueError, match=r"data\.train: 99999 examples are asked for"):
        decoded.load("mnist", **{**asked, "train": 99999})
    damage(record_file(checkout), "flipped bit")
    with pytest.raises(ValueError, match="corrupted"):
        decoded.load("mnist", **asked)


def test_missing_manifest_names_the_command(checkout):
    paths.manifest(checkout, "mnist", "sample").unlink()
    with pytest.raises(ValueError, match=r"mnist\.json does not exist: run `dvc repro data@mnist`"):
        load("mnist", root=checkout, verify_manifest=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "tfds"}, "describes source 'tfds', 'sample' is asked for: run `dvc repro data@mnist`"),
        ({"version": "1.0.0"}, "describes version '1.0.0', '3.0.1' is asked for"),
        ({"name": "cifar10"}, "describes name 'cifar10', 'mnist' is asked for"),
        ({"files": ["a"]}, "is not a manifest"),
        ({"files": {"a": {"sha256": 1, "bytes": 1}}}, "is not a manifest"),
        ({"files": {"../a": {"sha256": "0", "bytes": 1}}}, "outside the data folder"),
        ({"files": {"/etc/hosts": {"sha256": "0", "bytes": 1}}}, "outside the data folder"),
    ],
)
def test_foreign_manifest_is_refused(checkout, change, message):
    path = paths.manifest(checkout, "mnist", "sample")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load("mnist", root=checkout, verify_manifest=True)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"name": "mnist"'])
def test_broken_manifest_is_named(checkout, content):
    paths.manifest(checkout, "mnist", "sample").write_text(content)
    with pytest.raises(ValueError, match=r"mnist\.json is not a manifest .*dvc repro data@mnist"):
        load("mnist", root=checkout, verify_manifest=True)


def test_metadata_cannot_leave_the_data_folder(checkout):
    info = checkout / "data" / "sample" / "mnist" / "3.0.1" / "dataset_info.json"
    content = json.loads(info.read_text())
    content["splits"][0]["filepathTemplate"] = "../../../../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    info.write_text(json.dumps(content))
    shutil.copy(record_file(checkout), checkout.parent)
    with pytest.raises(ValueError, match="lies outside"):
        load("mnist", root=checkout)


@pytest.mark.parametrize("name", SIZES)
def test_manifest_is_the_same_in_every_place(name, tmp_path):
    shutil.copytree(ROOT / "data" / "sample", tmp_path / "data" / "sample")
    here, there = (manifests.describe(name, "sample", root) for root in (ROOT, tmp_path))
    assert here == there
    assert str(ROOT) not in json.dumps(here)
    for file, entry in here["files"].items():
        content = (ROOT / "data" / "sample" / file).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert json.loads(paths.manifest(ROOT, name, "sample").read_text()) == here


def test_changed_file_is_hashed_again(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"one")
    first = manifests.sha256(file)
    file.write_bytes(b"two, longer")
    assert first == hashlib.sha256(b"one").hexdigest()
    assert manifests.sha256(file) == hashlib.sha256(b"two, longer").hexdigest()


def test_other_formats_are_refused(checkout):
    info = checkout / "data" / "sample" / "mnist" / "3.0.1" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(ValueError, match="holds tfrecord files: prepare mnist again"):
        load("mnist", root=checkout)


def stage(
    root: Path, *arguments: str, source: str = "sample", **environment: str
) -> subprocess.CompletedProcess:
    (root / "dvc.yaml").touch()
    (root / "params.yaml").write_text(f"scale: laptop\ndata: {{source: {source}}}\n")
    kept = {
        k: v for k, v in os.environ.items() if k != "L2DYNAMICS_ROOT" and not k.lower().endswith("_proxy")
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "stages" / "data.py"), *arguments],
        cwd=root,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_stage_writes_the_committed_manifest(checkout):
    paths.manifest(checkout, "mnist", "sample").unlink()
    done = stage(checkout, "mnist")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mnist 3.0.1 (sample): 2048 train, 10000 test; 2 record files hashed" in done.stdout
    assert (
        paths.manifest(checkout, "mnist", "sample").read_bytes()
        == paths.manifest(ROOT, "mnist", "sample").read_bytes()
    )


def test_stage_refuses_a_damaged_sample_and_keeps_the_manifest(checkout):
    before = paths.manifest(checkout, "mnist", "sample").read_bytes()
    damage(record_file(checkout), "flipped bit")
    done = stage(checkout, "mnist")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "mnist-train.array_record-00000-of-00001 is corrupted" in done.stderr
    assert paths.manifest(checkout, "mnist", "sample").read_bytes() == before


def test_offline_and_unprepared_fails_at_once_with_one_line(checkout, tmp_path):
    began = time.perf_counter()
    # A proxy that refuses connections stands for a machine without a network.
    done = stage(
        checkout,
        "mnist",
        source="tfds",
        TFDS_DATA_DIR=str(tmp_path / "none"),
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert time.perf_counter() - began < 10
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "mnist 3.0.1 is not prepared in" in done.stderr
    assert "cannot be reached" in done.stderr
    assert "data.source: sample" in done.stderr


def test_loading_never_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"not prepared in .*run `dvc repro -f data@cifar10` with a network"):
        load("cifar10", source="tfds")
    assert time.perf_counter() - began < 5


def test_unanswered_connection_is_given_up(monkeypatch):
    def silent(*args, **kwargs):
        time.sleep(60)
        raise TimeoutError  # as a socket does; the thread outlives this test

    monkeypatch.setattr(prepare.socket, "create_connection", silent)
    began = time.perf_counter()
    assert prepare.unreachable("localhost", timeout=0.1) == "no answer within 0 s"
    assert time.perf_counter() - began < 5


def test_tensorflow_and_jax_stay_out():
    code = (
        "import sys; from l2dynamics.data import datasets; from pathlib import Path;"
        f"datasets.load('cifar10', train=3, test=3, root=Path({str(ROOT)!r}));"
        "assert not {'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def raw_mnist(folder: Path, count: int) -> dict[str, str]:
    """Write files in the original format; return {TFDS url part: path}."""
    rng = np.random.default_rng(1)
    files = {}
    for name, part in (("train", "train"), ("test", "t10k")):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        np.savez(folder / f"{name}.npz", images=images, labels=labels)
        for kind, header, content in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            path = folder / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(bytes(header) + content.tobytes()))
            files[path.name] = str(path)
    return files


def test_mnist_is_prepared_without_tensorflow_in_the_original_order(tmp_path, monkeypatch, capfd):
    from tensorflow_datasets.core import download
    from tensorflow_datasets.image_classification import mnist

    raw = tmp_path / "raw"
    raw.mkdir()
    files = raw_mnist(raw, 25)
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 25)
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 25)
    monkeypatch.setattr(mnist.MNIST, "URL", f"{raw}/")
    infos = {url: download.checksums.compute_url_info(Path(url)) for url in files.values()}
    monkeypatch.setattr(mnist.MNIST, "url_infos", infos)
    monkeypatch.setattr(prepare, "unreachable", lambda host: None)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    prepare.prepare("mnist", "tfds")
    write_manifest("mnist", tmp_path, "tfds")
    loaded = datasets.load("mnist", train=None, test=20, source="tfds", root=tmp_path)
    with np.load(raw / "train.npz") as truth:
        np.testing.assert_array_equal(loaded.train_images[..., 0], truth["images"])
        np.testing.assert_array_equal(loaded.train_labels, truth["labels"])
    with np.load(raw / "test.npz") as truth:
        np.testing.assert_array_equal(loaded.test_images[..., 0], truth["images"][:20])
    assert "tensorflow" not in sys.modules
    prepare.prepare("mnist", "tfds")  # a second time there is nothing to do

    shutil.rmtree(tmp_path / "tfds")
    wrong = {url: dataclasses.replace(info, checksum="0" * 64) for url, info in infos.items()}
    monkeypatch.setattr(mnist.MNIST, "url_infos", wrong)
    with pytest.raises(ValueError, match=r"preparing it failed .*NonMatchingChecksumError"):
        prepare.prepare("mnist", "tfds")
    assert not records.is_prepared("mnist", tmp_path / "tfds")
    capfd.readouterr()


def test_cifar10_is_prepared_without_tensorflow_in_the_original_order(tmp_path, monkeypatch, capfd):
    from tensorflow_datasets.core import download
    from tensorflow_datasets.image_classification import cifar

    rng = np.random.default_rng(2)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    batches = {f"data_batch_{n}.bin": rng.integers(0, 256, (8, 3073), dtype=np.uint8) for n in range(1, 6)}
    batches["test_batch.bin"] = rng.integers(0, 256, (8, 3073), dtype=np.uint8)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for file, content in batches.items():
            content[:, 0] %= 10
            add(tar, f"cifar-10-batches-bin/{file}", content.tobytes())
        add(tar, "cifar-10-batches-bin/batches.meta.txt", "\n".join(names).encode())
    described = cifar.CifarInfo(
        "cifar10",
        str(archive),
        "cifar-10-batches-bin/",
        [f"data_batch_{n}.bin" for n in range(1, 6)],
        ["test_batch.bin"],
        ["batches.meta.txt"],
        ["label"],
    )
    monkeypatch.setattr(cifar.Cifar10, "_cifar_info", described)
    monkeypatch.setattr(
        cifar.Cifar10, "url_infos", {str(archive): download.checksums.compute_url_info(archive)}
    )
    monkeypatch.setattr(prepare, "unreachable", lambda host: None)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    prepare.prepare("cifar10", "tfds")
    loaded = load("cifar10", None, None, source="tfds")
    truth = np.concatenate([batches[f"data_batch_{n}.bin"] for n in range(1, 6)])
    np.testing.assert_array_equal(loaded.train_labels, truth[:, 0])
    np.testing.assert_array_equal(
        loaded.train_images, truth[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    )
    np.testing.assert_array_equal(loaded.test_labels, batches["test_batch.bin"][:, 0])
    capfd.readouterr()


@pytest.mark.parametrize("name", ["mnist", "cifar10", "imagenet2012"])
def test_builders_keep_the_official_name_version_and_checksums(name, tmp_path):
    builder = prepare.builder_class(name)(data_dir=tmp_path, file_format="array_record")
    assert builder.info.full_name == f"{name}/{specs.SPECS[name].version}"
    hosts = {url.split("/")[2] for url in builder.url_infos}
    assert hosts
    if name in prepare.HOSTS:
        assert hosts == {prepare.HOSTS[name]}


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def jpeg(width: int, height: int, colour: tuple[int, int, int], mode: str = "RGB") -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), colour).convert(mode).save(encoded, "JPEG", quality=95)
    return encoded.getvalue()


@pytest.fixture
def imagenet_archives(tmp_path, monkeypatch) -> Path:
    """Tiny archives in the format of ImageNet, one colour per class, one image in CMYK."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    classes = {"n01440764": (200, 30, 30), "n01443537": (30, 200, 30), "n01739381": (30, 30, 200)}
    with tarfile.open(manual / "ILSVRC2012_img_train.tar", "w") as tar:
        for synset, colour in classes.items():
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as images:
                for number in range(3):
                    add(images, f"{synset}_{number}.JPEG", jpeg(60 + 20 * number, 50, colour))
                if synset == "n01739381":
                    add(images, "n01739381_1309.JPEG", jpeg(64, 64, colour, "CMYK"))
            add(tar, f"{synset}.tar", inner.getvalue())
    with tarfile.open(manual / "ILSVRC2012_img_val.tar", "w") as tar:
        for number in range(1, 5):
            add(tar, f"ILSVRC2012_val_{number:08d}.JPEG", jpeg(48, 64, (10 * number, 0, 0)))
    return tmp_path


def test_imagenet_is_prepared_and_read_lazily(imagenet_archives, capfd):
    prepare.prepare("imagenet2012", "tfds")
    write_manifest("imagenet2012", imagenet_archives, "tfds")
    options = {"test": None, "image_size": 32, "source": "tfds", "root": imagenet_archives}
    loaded = datasets.load("imagenet2012", train=None, **options)
    assert loaded.classes == 1000
    assert loaded.train_images.shape == (10, 32, 32, 3)
    assert loaded.test_images.shape == (4, 32, 32, 3)
    # Labels are the positions of the synsets in the sorted list of TFDS: tench 0, goldfish 1, thunder snake
    # 59...
    assert sorted(loaded.train_labels) == [0, 0, 0, 1, 1, 1, 59, 59, 59, 59]
    brightest = {0: 0, 1: 1, 59: 2}
    for image, label in zip(loaded.train_images[:], loaded.train_labels, strict=True):
        assert image.mean((0, 1)).argmax() == brightest[int(label)]
        np.testing.assert_allclose(image.reshape(-1, 3), np.broadcast_to(image[0, 0], (1024, 3)), atol=3)
    batch = loaded.train_images[np.array([[7, 2], [0, 9]])]
    assert batch.shape == (2, 2, 32, 32, 3)
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(batch[0, 1], loaded.train_images[2])
    # The validation labels that TFDS ships for ILSVRC2012_val_00000001…4.
    assert sorted(loaded.test_labels) == [65, 230, 809, 970]
    assert datasets.load("imagenet2012", train=None, **options).digest == loaded.digest
    assert datasets.load("imagenet2012", train=9, **options).digest != loaded.digest
    np.testing.assert_array_equal(
        datasets.load("imagenet2012", train=9, **options).train_labels, loaded.train_labels[:9]
    )
    capfd.readouterr()


def test_imagenet_without_archives_says_which(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"get ILSVRC2012_img_train\.tar and ILSVRC2012_img_val\.tar from"):
        prepare.prepare("imagenet2012", "tfds")


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (33, 33), (20, 90)])
def test_centre_crop_keeps_the_centre(width, height):
    # A horizontal ramp in red and a vertical ramp in green show where the crop was taken.
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width)[None, :]
    ramp[..., 1] = np.linspace(0, 255, height)[:, None]
    encoded = io.BytesIO()
    Image.fromarray(ramp).save(encoded, "JPEG", quality=100)
    crop = imagenet.centre_crop(encoded.getvalue(), 28).astype(float)
    assert crop.shape == (28, 28, 3)
    shorter = min(width, height)
    for channel, length in ((0, width), (1, height)):
        assert crop[..., channel].mean() == pytest.approx(127.5, abs=4)
        span = 255 * (27 / 32) * shorter / length
        assert np.ptp(crop[..., channel].mean(channel)) == pytest.approx(span, abs=12)


def test_labels_are_read_once(tmp_path):
    class Examples:
        reads = 0

        def __len__(self):
            return 3

        def __getitems__(self, rows):
            self.reads += 1
            return [{"label": 5 * row} for row in rows]

    examples, cache = Examples(), tmp_path / "a" / "labels.npy"
    for _ in range(2):
        assert imagenet.read_labels(examples, cache).tolist() == [0, 5, 10]
    assert examples.reads == 1


@full_data
@pytest.mark.parametrize("name", SIZES)
def test_sample_is_the_beginning_of_the_full_set(name):
    sample, full = load(name, 2000, 1000), load(name, 2000, 1000, source="tfds")
    assert sample.digest == full.digest


@full_data
def test_full_cifar10_is_the_canonical_one():
    full = load("cifar10", None, None, source="tfds")
    assert full.train_images.shape == (50_000, 32, 32, 3)
    assert full.test_images.shape == (10_000, 32, 32, 3)
    np.testing.assert_allclose(full.mean, [0.4914, 0.4822, 0.4465], atol=6e-5)
    np.testing.assert_allclose(full.std, [0.2470, 0.2435, 0.2616], atol=6e-5)
    assert np.bincount(full.train_labels).tolist() == [5000] * 10
    assert np.bincount(full.test_labels).tolist() == [1000] * 10


@full_data
def test_full_mnist_is_the_canonical_one():
    full = load("mnist", None, None, source="tfds")
    np.testing.assert_allclose([full.mean[0], full.std[0]], [0.1307, 0.3081], atol=6e-5)
    assert np.bincount(full.train_labels).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.bincount(full.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
