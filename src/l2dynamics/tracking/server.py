"""``make ui``: MLflow's web interface over the store of the checkout, on the loopback address only."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from l2dynamics.tracking import address, views
from l2dynamics.tracking.address import TrackingError
from l2dynamics.tracking.store import ARTIFACTS, Store

HOST = "127.0.0.1"


def command(uri: str, root: Path, port: int) -> list[str]:
    """Return the command that starts the server: two processes instead of MLflow's ten."""
    database = address.database(uri)
    artifacts = (database.parent if database else address.folder(root)) / ARTIFACTS
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--artifacts-destination", artifacts.as_uri()),
    ]


def serve(root: Path, port: int = 5000) -> int:
    """Run the web interface until Ctrl-C on the first free port from ``port`` on; print its address once it answers.

    Raises:
        TrackingError: the store cannot be used, no port is free, or the server does not start.
    """
    uri = address.tracking_uri(root)
    if uri.startswith("http"):
        print(f"MLFLOW_TRACKING_URI is set: open {address.public(uri)}", flush=True)
        return 0
    # Creates it under the lock: the server's own start races with a running stage.
    empty = Store(root).empty()
    wanted, port = port, _free_port(port)
    url = f"http://{HOST}:{port}"
    address.folder(root).mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # Not as an argument: it may hold a password, and every user can read a command line.
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "MLFLOW_BACKEND_STORE_URI": uri}
    with (address.folder(root) / "server.log").open("wb") as output, suppress(KeyboardInterrupt):
        # A session of its own: Ctrl-C is passed on once, by us, to all of the server's processes.
        server = subprocess.Popen(
            command(uri, root, port), env=environment, start_new_session=True, stdout=output, stderr=output
        )
        completion: subprocess.Popen[bytes] | None = None
        try:
            _wait(server, f"{url}/health")
            print(f"MLflow: {url} (Ctrl-C stops it)", flush=True)
            if port != wanted:
                print(
                    f"Port {wanted} is busy, this is {port}: links of the report lead to {wanted}", flush=True
                )
            if empty:
                print("The store is empty: it is being filled from results/, reload the page", flush=True)
            print(f"Curves: {url}/#/experiments/1/runs?{views.ADDRESS}", flush=True)
            # Stages too short to log live have left their runs to this.
            completion = subprocess.Popen(
                [sys.executable, "-m", "l2dynamics.tracking", "sync"],
                env=os.environ | {"L2DYNAMICS_ROOT": str(root)},
                start_new_session=True,
                stdout=output,
                stderr=output,
            )
            server.wait()
        finally:
            if completion is not None and completion.poll() is None:
                completion.terminate()
                completion.wait()
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(server.pid, number)
                    server.wait(10)
                    break
    return 0


def _wait(server: "subprocess.Popen[bytes]", url: str) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise TrackingError("the MLflow server ended at once: see mlflow/server.log")
        with suppress(OSError), urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise TrackingError("the MLflow server did not answer within a minute")


def _free_port(first: int) -> int:
    for port in range(first, min(first + 20, 65536)):
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise TrackingError(f"no free port from {first} on: choose another with --port")
