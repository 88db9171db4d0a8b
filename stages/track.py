"""Stage ``track``: complete and repair the MLflow store from the results files."""

import sys

import checkout  # noqa: F401

from l2dynamics import paths
from l2dynamics.running import interruption
from l2dynamics.storage import atomic
from l2dynamics.tracking import address
from l2dynamics.tracking.sync import sync


def main() -> int:
    interruption.stop_at_once()
    try:
        root = paths.find_root()
        done = sync(root)
        for line in done.damaged:
            print(line, file=sys.stderr)
        if done.damaged:
            return 2
        receipt = address.folder(root) / "receipt.json"
        receipt.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(receipt, atomic.json_bytes(done.receipt()))
    except (address.TrackingError, ValueError, OSError) as error:
        print(address.public(str(error)), file=sys.stderr)
        return 2
    print(f"MLflow: {done.written} runs logged, {done.kept} were complete, {done.removed} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
