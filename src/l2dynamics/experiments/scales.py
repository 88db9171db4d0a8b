"""params.yaml and ``scales/<scale>.yaml``: read, checked and named in every complaint."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from l2dynamics.experiments import inheritance
from l2dynamics.experiments.fields import MAX_RUNS, NUMBER, Strict
from l2dynamics.experiments.messages import ConfigError, Section, check
from l2dynamics.experiments.setup import Setup

SCALES = ("smoke", "laptop", "workstation", "accelerator", "paper")
EXECUTOR_VARIABLE = "L2DYNAMICS_EXECUTOR"


class Executor(Strict):
    """Who executes the runs of a sweep; ``auto`` is one process per core on CPU, this process on accelerators.

    ``ray`` is a Ray cluster. ``workers`` 0 means one per core, with Ray as many as fit in the cluster.
    """

    kind: Literal["auto", "in_process", "processes", "ray"] = "auto"
    workers: Annotated[int, Field(ge=0, le=100_000), NUMBER] = 0


class Params(Strict):
    """params.yaml: what does not depend on the scale."""

    # Which file of scales/ holds the numbers.
    scale: Literal["smoke", "laptop", "workstation", "accelerator", "paper"]
    # First seed; a grid with n seeds takes seed, …, seed + n − 1.
    # A grid of n seeds goes up to seed + n − 1, and seeds are 32-bit integers.
    seed: Annotated[int, Field(ge=0, lt=2**31 - MAX_RUNS), NUMBER] = 0
    # sample: the examples in data/sample/; tfds: the full sets, in TFDS_DATA_DIR.
    data: dict[Literal["source"], Literal["sample", "tfds"]]
    # Who executes the runs.
    executor: Executor = Executor()
    # Look of the figures: paper (column width) or slides (large).
    figures: dict[Literal["style"], Literal["paper", "slides"]] = {"style": "paper"}  # noqa: RUF012 (pydantic copies)

    @model_validator(mode="after")
    def _filled(self) -> "Params":
        for name, mapping, key in (
            ("data", self.data, "source: sample"),
            ("figures", self.figures, "style: paper"),
        ):
            if not mapping:
                raise ValueError(f"{name} is empty: write {name}: {{{key}}}")
        return self


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does (1e-4 is a number).

    Raises:
        ConfigError: the file is missing, is not YAML or is not a mapping.
    """
    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file: restore it with `git checkout`") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}): restore it") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}: correct it") from error
    except (ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: a value cannot be read ({reason}): correct it") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of sections, such as `seed: 0`")
    return content


def load_params(root: Path) -> Params:
    """Read and check params.yaml; ``$L2DYNAMICS_EXECUTOR``, such as ``ray`` or ``processes:4``, wins over it."""
    params = check(Params, read_yaml(root / "params.yaml"), "params.yaml")
    if chosen := os.environ.get(EXECUTOR_VARIABLE):
        kind, _, workers = chosen.partition(":")
        executor = check(Executor, {"kind": kind, "workers": workers or 0}, f"{EXECUTOR_VARIABLE}={chosen}")
        return params.model_copy(update={"executor": executor})
    return params


def source(root: Path, scale: str) -> str:
    """Where the data of a scale come from, ``source`` in its file: ``sample`` if nothing is said, or ``tfds``."""
    return str(read_yaml(root / "scales" / f"{scale}.yaml").get("source", "sample"))


def load_section(root: Path, scale: str, name: str, section: type[Section]) -> Section:
    """Read and check one section of ``scales/<scale>.yaml``, with the setups that it inherits filled in.

    Raises:
        ConfigError: unknown scale, missing section, or a value that cannot be used.
    """
    where = f"scales/{scale}.yaml"
    if scale not in SCALES:
        raise ConfigError(f"params.yaml: scale: {scale!r} is unknown, choose one of {', '.join(SCALES)}")
    content = read_yaml(root / where)
    node: Any = content
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(f"{where}: section {name} is missing: add it, as in the other scales")
        node = node[part]
    try:
        node, inherited = inheritance.resolve(content, node, name)
    except inheritance.InheritanceError as error:
        raise ConfigError(f"{where}: {error}") from error
    # First on their own: then a complaint about the section is about what stands in the section.
    for base, setup in inherited.items():
        check(Setup, setup, f"{where}: {inheritance.SETUPS}.{base}")
    return check(section, node, f"{where}: {name}")
