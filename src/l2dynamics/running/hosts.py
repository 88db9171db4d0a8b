"""One run over the devices of several hosts: the processes find each other, agree, and one of them speaks.

All processes execute the same stage. Each trains the same runs in lockstep on the mesh of all devices; only the
leader holds the stage's lock, shows progress, logs and writes results. jax is imported when a crew is needed.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from l2dynamics.experiments.messages import ConfigError

#: ``auto`` (Slurm, Open MPI, Kubernetes, TPU pods) or ``HOST:PORT,PROCESSES,INDEX``; unset: this process is alone.
VARIABLE = "L2DYNAMICS_DISTRIBUTED"
#: A process that says nothing for so long is taken for dead and the others end; jax waits 100 s.
HEARTBEAT_SECONDS = 30
#: How long a follower waits until it sees what the leader wrote: network file systems show it late.
VISIBLE_SECONDS = 60.0


class Crew:
    """The processes that train one run together: this one alone."""

    size = 1
    leader = True

    def gather(self, value: int) -> list[int]:
        """The values (int32) of all processes; every process must call it."""
        return [value]

    def any(self, value: bool) -> bool:
        """Whether ``value`` is true in any process."""
        return any(self.gather(value))

    def same(self, value: int, what: str) -> None:
        """Check that all processes have the same value.

        Raises:
            OSError: they have not.
        """
        if len(set(found := self.gather(value))) > 1:
            raise OSError(
                f"the hosts see different {what}s ({found}): work/ must lie on a shared file system"
            )

    def see(self, present: Callable[[], bool], path: Path) -> None:
        """Wait until all processes have come here and see what the leader wrote to ``path``."""

    def close(self) -> None:
        """Leave the crew."""


class _Crew(Crew):
    def __init__(self) -> None:
        import jax

        self.size, self.leader = jax.process_count(), jax.process_index() == 0

    def gather(self, value: int) -> list[int]:
        from jax.experimental import multihost_utils

        gathered = multihost_utils.process_allgather(np.asarray(value, np.int32))
        return [int(one) for one in np.ravel(gathered)]

    def see(self, present: Callable[[], bool], path: Path) -> None:
        self.gather(0)
        deadline = time.monotonic() + VISIBLE_SECONDS
        while not (seen := present()) and time.monotonic() < deadline:
            time.sleep(0.5)
        if not seen:
            raise OSError(f"{path}: not seen on this host: work/ must lie on a shared file system")

    def close(self) -> None:
        import jax

        jax.distributed.shutdown()


_alone = Crew()
_crew: Crew = _alone


def crew() -> Crew:
    """The crew of this process."""
    return _crew


def _parse(text: str) -> dict[str, Any]:
    """Arguments of ``jax.distributed.initialize`` from the variable."""
    if text == "auto":
        return {}
    parts = text.split(",")
    host, colon, port = parts[0].rpartition(":")
    if len(parts) != 3 or not (host and colon and all(x.isdecimal() for x in (port, *parts[1:]))):
        raise ConfigError(
            f"{VARIABLE}={text}: give auto, or HOST:PORT,PROCESSES,INDEX such as node1:6400,2,0 on the first host"
        )
    count, index = int(parts[1]), int(parts[2])
    if index >= count:
        raise ConfigError(f"{VARIABLE}={text}: the index counts from 0 to {count - 1}")
    # Slurm's and Open MPI's variables, should they be set too, must not give each process one device only.
    arguments = {
        "coordinator_address": parts[0],
        "num_processes": count,
        "process_id": index,
        "cluster_detection_method": "deactivate",
    }
    # jax listens on all interfaces unless told otherwise.
    return arguments | ({"coordinator_bind_address": parts[0]} if host in ("127.0.0.1", "localhost") else {})


def initialize() -> Crew:
    """Join the crew that ``$L2DYNAMICS_DISTRIBUTED`` describes; before jax computes anything.

    Raises:
        ConfigError: the variable cannot be used, or the processes did not find each other.
    """
    global _crew
    text = os.environ.get(VARIABLE, "")
    if not text or _crew is not _alone:
        return _crew
    arguments = _parse(text)
    import jax

    try:
        jax.distributed.initialize(
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
            **arguments,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{VARIABLE}={text}: {' '.join(str(error).split())[:300]}") from error
    _crew = _Crew()
    return _crew
