"""Set ``scale:`` in params.yaml, leaving every other byte (and an unchanged file) alone.

Usage: ``python scripts/set_scale.py SCALE``, run in the checkout.
"""

import re
import sys

from l2dynamics import config, paths


def set_scale(text: str, scale: str) -> str:
    """Return the content of params.yaml with another scale; comments and spaces stay.

    Raises:
        ValueError: the scale is unknown, or there is not exactly one line ``scale: NAME``.
    """
    if scale not in config.SCALES:
        raise ValueError(f"SCALE: {scale!r} is unknown, choose one of {', '.join(config.SCALES)}")
    changed, count = re.subn(r"^(scale:[ \t]*)[^\s#]+", rf"\g<1>{scale}", text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"params.yaml: {count} lines begin with `scale: NAME`, one is needed")
    return changed


def main() -> None:
    """Rewrite params.yaml if the scale differs."""
    if len(sys.argv) != 2:
        raise ValueError("usage: python scripts/set_scale.py SCALE")
    path = paths.find_root() / "params.yaml"
    # Bytes, so that line ends stay as they are.
    before = path.read_bytes().decode()
    after = set_scale(before, sys.argv[1])
    if after != before:
        partial = path.with_suffix(".partial")
        partial.write_bytes(after.encode())
        partial.replace(path)
        print(f"params.yaml: scale is now {sys.argv[1]}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
