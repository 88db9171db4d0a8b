"""Where things lie in a checkout. Every path of the pipeline is named here once."""

import os
from pathlib import Path


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


def results(root: Path) -> Path:
    """Results of the sweeps: one CSV and one passport (JSON) each."""
    return root / "results"


def figures(root: Path) -> Path:
    """Figures, PNG and SVG; the plotted curves as CSV lie in ``data/`` below it."""
    return root / "reports" / "figures"


def claims(root: Path) -> Path:
    """One flat JSON file per claim of the paper."""
    return root / "reports" / "claims"


def work(root: Path) -> Path:
    """Checkpoints, finished runs, locks and the compilation cache; ignored by git and DVC."""
    return root / "work"


def manifest(root: Path, dataset: str) -> Path:
    """Name, version, split sizes and checksums of one data set, written by stage ``data@dataset``."""
    return root / "data" / "manifests" / f"{dataset}.json"


def code(root: Path) -> Path:
    """One text file per kind of stage: the code it runs, written by stage ``code``."""
    return root / "data" / "code"
