"""Where the store is, how long we wait for it, and what of its address may be shown."""

import os
import re
from pathlib import Path

#: MLflow's own defaults wait four minutes for a dead server.
_ENVIRONMENT = """
MLFLOW_HTTP_REQUEST_MAX_RETRIES=1 MLFLOW_HTTP_REQUEST_TIMEOUT=5 MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR=1
MLFLOW_LOGGING_LEVEL=ERROR MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true MLFLOW_DISABLE_TELEMETRY=true
MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false GIT_PYTHON_REFRESH=quiet
"""
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_STORES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


class TrackingError(RuntimeError):
    """The tracking store cannot be used. The message is one line without secrets."""


def folder(root: Path) -> Path:
    """The default store, its artifacts, its lock and the receipt; ignored by git."""
    return root / "mlflow"


def chosen() -> str:
    """Return the address that the user has set; empty for the default store."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip()


def tracking_uri(root: Path) -> str:
    """Return ``$MLFLOW_TRACKING_URI``, or the SQLite store of the checkout.

    Raises:
        TrackingError: the variable holds neither a server nor a database.
    """
    uri = chosen()
    scheme = uri.partition(":")[0].lower()
    if not uri or ("://" in uri and scheme.partition("+")[0] in _STORES):
        return uri or sqlite(folder(root) / "mlflow.db")
    folders = scheme == "file" or ("://" not in uri and scheme not in {"databricks", "databricks-uc", "uc"})
    reason = "MLflow no longer writes to folders" if folders else "this project does not log there"
    reason += "; use http://host:port or a database, e.g. sqlite:///…/mlflow.db"
    raise TrackingError(f"MLFLOW_TRACKING_URI={public(uri)}: {reason}")


def sqlite(file: Path) -> str:
    """Return the address of an SQLite file, whatever characters its path has."""
    from sqlalchemy import URL

    # With the driver's name: MLflow makes the folders of what follows "sqlite:///", quoted as it is.
    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string()


def database(uri: str) -> Path | None:
    """Return the file behind an SQLite address, None for every other address."""
    from sqlalchemy import make_url

    name = make_url(uri).database if uri.startswith("sqlite") else None
    return Path(name).absolute() if name and not name.startswith((":memory:", "file:")) else None


def public(text: str) -> str:
    """Return an address, or a message that may hold one, on one line and without its secrets."""
    text = re.sub(r"//[^/\s'\"]*@", "//", text)
    text = re.sub(r"(://[^\s'\"?]*)\?[^\s'\")]*", r"\1", text)
    # A malformed address can be reported in pieces.
    secrets = [os.environ.get(name, "") for name in _SECRETS]
    for found in re.findall(r"//[^/\s:]*:([^/\s]*)@|[?&][^=&\s]*=([^&\s]*)", chosen()):
        secrets += found
    for secret in (one for one in secrets if len(one) > 2):
        text = text.replace(secret, "***")
    return " ".join(text.split())


def prepare_environment() -> None:
    """Set MLflow's time limits and silence, before it is imported; what the user has set stays."""
    for setting in _ENVIRONMENT.split():
        os.environ.setdefault(*setting.split("="))
