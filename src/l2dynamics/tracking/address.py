"""Where the store is, how long we wait for it, and what of its address may be shown."""

import os
import re
import ssl
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

#: MLflow's own defaults wait four minutes for a dead server.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


class TrackingError(RuntimeError):
    """The tracking store cannot be used. The message is one line without secrets."""


def folder(root: Path) -> Path:
    """The default store, its artifacts, its lock and the receipt; ignored by git."""
    return root / "mlflow"


def tracking_uri(root: Path) -> str:
    """Return ``$MLFLOW_TRACKING_URI``, or the SQLite store of the checkout.

    Raises:
        TrackingError: the variable holds a plain path, which MLflow would take for its abandoned file store.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return f"sqlite:///{folder(root) / 'mlflow.db'}"
    if "://" not in uri or uri.startswith("file:"):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={public(uri)}: MLflow no longer writes to folders; "
            "use sqlite:///…/mlflow.db or http://host:port"
        )
    return uri


def database(uri: str) -> Path | None:
    """Return the file behind an SQLite address, None for every other address."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix).partition("?")[0]).absolute() if uri.startswith(prefix) else None


def public(text: str) -> str:
    """Return an address, or a message that may hold one, on one line and without its secrets."""
    text = re.sub(r"//[^/\s'\"]*@", "//", text)
    text = re.sub(r"(://[^\s'\"?]*)\?[^\s'\")]*", r"\1", text)
    secrets = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    # A malformed address can be reported in pieces.
    secrets += [*_user_info(os.environ.get("MLFLOW_TRACKING_URI", ""))]
    for secret in secrets:
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return " ".join(text.split())


def prepare_environment() -> None:
    """Set MLflow's time limits and silence, before it is imported; what the user has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def probe(uri: str) -> None:
    """Return at once if the server answers, whatever it answers; other stores always do.

    It costs a dead server seconds less than MLflow's own first request with its retries and its import.

    Raises:
        TrackingError: nobody listens there, or answers within ``$MLFLOW_HTTP_REQUEST_TIMEOUT`` seconds.
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return
    health = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health")
    try:
        with urlopen(health.geturl(), timeout=float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])):
            return
    except (HTTPError, HTTPException, ssl.SSLError):
        return  # it listens; certificates and passwords are MLflow's business
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):
            raise TrackingError(f"MLflow at {public(uri)}: {no_answer(str(reason))}") from error


def no_answer(reason: str) -> str:
    """What to say when a server does not answer."""
    return f"the server does not answer ({reason}); start it or unset MLFLOW_TRACKING_URI"


def _user_info(uri: str) -> list[str]:
    found = re.search(r"//([^/\s]*)@", uri)
    parts = found.group(1).split(":", 1)[1:] if found else []
    try:
        query = urlsplit(uri).query
    except ValueError:
        query = ""
    return [*parts, *(pair.partition("=")[2] for pair in query.split("&"))]
