"""Copy the first examples of MNIST and CIFAR-10 into ``data/sample/``, record by record, without decoding.

Usage: ``python scripts/make_sample.py SOURCE [DESTINATION]`` where SOURCE is a TFDS folder that holds
``mnist/3.0.1`` and ``cifar10/3.0.2`` in array_record format and in the original order (as
``l2dynamics.data.prepare`` makes it). The records are the bytes that TFDS wrote, so the sample is lossless,
and running this twice gives the same files.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

SAMPLE = {
    "mnist/3.0.1": {"train": 2048, "test": 10000},
    "cifar10/3.0.2": {"train": 5000, "test": 2000},
}
CHECKSUMS = "SHA256SUMS"


def shard_name(dataset: str, split: str, shard: int, shards: int) -> str:
    """Name of one record file, as TFDS writes it."""
    return f"{dataset}-{split}.array_record-{shard:05d}-of-{shards:05d}"


def first_records(folder: Path, dataset: str, split: str, lengths: list[int], count: int) -> list[bytes]:
    """Return the first ``count`` raw records of a split whose shards have these lengths."""
    records: list[bytes] = []
    for shard, length in enumerate(lengths):
        reader = ArrayRecordReader(str(folder / shard_name(dataset, split, shard, len(lengths))))
        if reader.num_records() != length:
            raise ValueError(
                f"{dataset} {split} shard {shard}: {reader.num_records()} records, {length} expected"
            )
        wanted = min(length, count - len(records))
        if wanted > 0:
            records += reader.read(list(range(wanted)))
        reader.close()
    if len(records) < count:
        raise ValueError(f"{folder}: split {split} has {len(records)} examples, {count} are needed")
    return records


def copy_sample(source: Path, destination: Path, sizes: dict[str, int]) -> None:
    """Write a TFDS folder with the first ``sizes[split]`` examples of each split of ``source``."""
    dataset = source.parent.name
    info = json.loads((source / "dataset_info.json").read_text())
    destination.mkdir(parents=True, exist_ok=True)
    for split in info["splits"]:
        name = split["name"]
        records = first_records(source, dataset, name, [int(n) for n in split["shardLengths"]], sizes[name])
        writer = ArrayRecordWriter(str(destination / shard_name(dataset, name, 0, 1)), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
        split["shardLengths"] = [str(len(records))]
        split["numBytes"] = str(sum(map(len, records)))
        # Statistics of the full split do not describe the sample.
        split.pop("statistics", None)
    info.pop("moduleName", None)
    (destination / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n")
    for extra in (source / "features.json", *sorted(source.glob("*.labels.txt"))):
        shutil.copyfile(extra, destination / extra.name)


def main() -> None:
    """Write the sample and its checksums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument(
        "destination", type=Path, nargs="?", default=Path(__file__).resolve().parents[1] / "data" / "sample"
    )
    arguments = parser.parse_args()
    for version, sizes in SAMPLE.items():
        copy_sample(arguments.source / version, arguments.destination / version, sizes)
    files = sorted(p for p in arguments.destination.rglob("*") if p.is_file() and p.name != CHECKSUMS)
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(arguments.destination).as_posix()}"
        for p in files
    ]
    (arguments.destination / CHECKSUMS).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
