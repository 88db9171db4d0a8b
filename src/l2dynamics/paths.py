"""Where things lie in a checkout. Every path of the pipeline is named here once."""

import os
import re
from pathlib import Path

DEFAULT_SCALE = "laptop"


def folder(variable: str, default: str = "") -> Path:
    """Return the folder that an environment variable names, ``~`` at its beginning being a home folder.

    Raises:
        ValueError: there is no such home folder.
    """
    text = os.environ.get(variable) or default
    try:
        return Path(text).expanduser().resolve()
    except RuntimeError as error:
        raise ValueError(
            f"{variable}: {text}: no such home folder: set {variable} to a whole path"
        ) from error


def find_root() -> Path:
    """Return the checkout: ``$L2DYNAMICS_ROOT``, or the nearest folder upwards that holds dvc.yaml and params.yaml.

    Raises:
        ValueError: there is no such folder.
    """
    if os.environ.get("L2DYNAMICS_ROOT"):
        return folder("L2DYNAMICS_ROOT")
    here = Path.cwd().resolve()
    for place in (here, *here.parents):
        if (place / "dvc.yaml").is_file() and (place / "params.yaml").is_file():
            return place
    raise ValueError(
        f"{here} is not inside a checkout of l2dynamics (no dvc.yaml and params.yaml here or above): "
        "change into the checkout or set L2DYNAMICS_ROOT"
    )


def scale(root: Path) -> str:
    """The scale in force, of params.yaml; without that file the default.

    Raises:
        ValueError: there is not exactly one line ``scale: NAME``.
    """
    try:
        text = (root / "params.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return DEFAULT_SCALE
    found = re.findall(r"^scale:[ \t]*['\"]?([A-Za-z0-9_-]+)", text, flags=re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"params.yaml: {len(found)} lines begin with `scale: NAME`, one is needed")
    return str(found[0])


def scales(root: Path) -> list[str]:
    """The scales that have results, sorted."""
    return sorted(path.name for path in (root / "results").glob("*") if path.is_dir())


def results(root: Path, of: str | None = None) -> Path:
    """Results of the sweeps at a scale, None: that in force; one CSV and one passport (JSON) each."""
    return root / "results" / (of or scale(root))


def reports(root: Path, of: str | None = None) -> Path:
    """Report, figures and claims at a scale, None: that in force; the overview of all scales lies above it."""
    return root / "reports" / (of or scale(root))


def figures(root: Path, of: str | None = None) -> Path:
    """Figures, PNG and SVG; the plotted curves as CSV lie in ``data/`` below it."""
    return reports(root, of) / "figures"


def claims(root: Path, of: str | None = None) -> Path:
    """One flat JSON file per claim of the paper."""
    return reports(root, of) / "claims"


def shown(path: Path) -> str:
    """A file or folder of results or reports as a user of the checkout names it, for messages."""
    parts = path.parts
    first = max((k for k, part in enumerate(parts) if part in ("results", "reports")), default=0)
    return "/".join(parts[first:])


def work(root: Path) -> Path:
    """Checkpoints, finished runs, locks and the compilation cache; ignored by git and DVC."""
    return root / "work"


def manifest(root: Path, dataset: str, source: str) -> Path:
    """Name, version, split sizes and checksums of one data set of a source, written by stage ``data@dataset``."""
    return root / "data" / "manifests" / source / f"{dataset}.json"


def code(root: Path) -> Path:
    """One text file per kind of stage: the code it runs, written by stage ``code``."""
    return root / "data" / "code"
