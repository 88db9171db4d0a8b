"""Saved views of MLflow's UI: which columns and charts an experiment shows, with the curves that collapse in t·η·λ.

MLflow keeps a view as a tag of the experiment: JSON with the state of its page, deflated. It is offered under "Views",
and ``?viewStateShareKey=<key>`` opens it. Nothing else here depends on the format; a UI that no longer understands it
shows its own default.
"""

import base64
import json
import zlib
from typing import Any

PREFIX = "mlflow.sharedViewState."
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open on runs and charts instead of language models."""

CURVES = "curves"
"""Key of the view of training curves."""

ADDRESS = f"viewStateShareKey={CURVES}&compareRunsMode=CHART&workflowType=machine_learning"
"""Opens that view; stands after an experiment's ``…/runs?``."""

_COLUMNS = (
    *(f"params.`{name}`" for name in ("eta", "l2", "seed")),
    *(f"metrics.`{name}`" for name in ("best/test_accuracy", "t_star/epochs", "t_star/eta_lambda")),
    *(f"tags.`{name}`" for name in ("results", "group", "diverged")),
)
_SECTIONS = (
    (
        "Against 10⁶·t·η·λ: the curves of all η and λ",
        ("by_eta_lambda/test_accuracy", "by_eta_lambda/train_loss"),
    ),
    ("Against update steps", ("test_accuracy", "train_loss", "l2_norm", "test_loss", "l2")),
)


def tags() -> dict[str, str]:
    """Return the tags that an experiment with training runs gets."""
    view = {"name": "Training curves", "createdAt": 0, "updatedAt": 0, "state": _deflated(_curves())}
    return {**KIND, PREFIX + CURVES: json.dumps(view)}


def _curves() -> dict[str, Any]:
    sections, charts = [], []
    for number, (title, metrics) in enumerate(_SECTIONS):
        section = f"l2dynamics-{number}"
        sections.append(
            {
                "uuid": section,
                "name": title,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "columns": 2,
                "cardHeight": 360,
            }
        )
        charts += [_line(section, metric) for metric in metrics]
    return {
        "searchFilter": 'tags.`l2dynamics.kind` = "run"',
        "orderByKey": "metrics.`best/test_accuracy`",  # any order but the time of creation: it would nest the runs
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(_COLUMNS),
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "groupBy": None,
    }


def _line(section: str, metric: str) -> dict[str, Any]:
    return {
        "uuid": f"{section}-{metric}",
        "type": "LINE",
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": metric.rpartition("/")[2],
        "runsCountToCompare": 100,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "useGlobalXaxisKey": False,
        "xAxisScaleType": "log",  # MLflow has it for steps only
        "scaleType": "log" if metric.endswith(("train_loss", "l2")) else "linear",
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "displayPoints": False,
    }


def _deflated(state: dict[str, Any]) -> str:
    packed = zlib.compress(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode(), 9)
    return "deflate;" + base64.b64encode(packed).decode()
