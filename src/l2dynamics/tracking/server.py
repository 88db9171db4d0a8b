"""``make ui``: MLflow's web interface over the store of the checkout, on the loopback address only."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from l2dynamics.tracking import address, views
from l2dynamics.tracking.address import TrackingError
from l2dynamics.tracking.store import ARTIFACTS, Store

HOST = "127.0.0.1"
#: Seconds; MLflow needs about five.
_START = 60.0


def command(uri: str, root: Path, port: int) -> list[str]:
    """Return the command that starts the server: two processes instead of MLflow's ten."""
    database = address.database(uri)
    folder = database.parent if database else address.folder(root)
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--default-artifact-root", (folder / ARTIFACTS).as_uri()),
    ]


def serve(root: Path, port: int = 5000) -> int:
    """Run the web interface until Ctrl-C, and print its address once it answers.

    Args:
        root: the checkout.
        port: where to listen; the next free port is taken if another program listens there.

    Returns:
        The exit status.

    Raises:
        TrackingError: the store cannot be used, no port is free, or the server does not start.
    """
    uri = address.tracking_uri(root)
    if uri.startswith("http"):
        print(f"MLFLOW_TRACKING_URI is set: open {address.public(uri)}", flush=True)
        return 0
    Store(uri, root)  # creates it under the lock: the server's own start races with a running stage
    port = _free_port(port)
    # Not as an argument: it may hold a password, and every user can read a command line.
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "MLFLOW_BACKEND_STORE_URI": uri}
    log = address.folder(root) / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # A session of its own: Ctrl-C is passed on once, by us, to all of the server's processes.
    with log.open("wb") as output:
        server = subprocess.Popen(
            command(uri, root, port),
            env=environment,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        _signal_group(server.pid, signal.SIGTERM)

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        _wait(server, port)
        print(f"MLflow: http://{HOST}:{port} (Ctrl-C stops it)", flush=True)
        print(f"Curves: http://{HOST}:{port}/#/experiments/1/runs?{views.ADDRESS}", flush=True)
        server.wait()
        return 0
    finally:
        _signal_group(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            _signal_group(server.pid, signal.SIGKILL)
            server.wait()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise TrackingError("the MLflow server ended at once: see mlflow/server.log")
        try:
            with urlopen(f"http://{HOST}:{port}/health", timeout=2):
                return
        except HTTPError:
            return
        except (URLError, OSError):
            time.sleep(0.2)
    raise TrackingError(f"the MLflow server did not answer within {_START:.0f} s")


def _free_port(first: int) -> int:
    for port in range(first, min(first + 20, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise TrackingError(f"no free port from {first} on: choose another with --port")


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
