"""Stage ``data@NAME``: prepare a data set where needed, read it once, and write its manifest.

Usage: ``python stages/data.py NAME`` (``mnist``, ``cifar10`` or ``imagenet2012``); ``data.source`` of
params.yaml says which files.
"""

import json
from pathlib import Path

import checkout  # noqa: F401

from l2dynamics import paths
from l2dynamics.data import manifests, prepare, specs
from l2dynamics.experiments import scales
from l2dynamics.pipeline import stage


def main(root: Path) -> None:
    name = stage.argument(list(specs.SPECS))
    source = scales.load_params(root).data["source"]
    prepare.prepare(name, source, root)
    manifest = manifests.describe(name, source, root)
    target = paths.manifest(root, name, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(manifest, indent=2) + "\n")
    partial.replace(target)
    sizes = ", ".join(f"{count} {split}" for split, count in manifest["splits"].items())
    stage.say(
        f"{name} {manifest['version']} ({source}): {sizes}; {len(manifest['files'])} record files hashed"
    )


if __name__ == "__main__":
    stage.short(main)
