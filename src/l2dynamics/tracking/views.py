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
#: Makes the UI open on runs and charts instead of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
#: Key of the view of training curves, and what opens it after an experiment's ``…/runs?``.
CURVES = "curves"
ADDRESS = f"viewStateShareKey={CURVES}&compareRunsMode=CHART&workflowType=machine_learning"

_SECTIONS = {
    "Against 10⁶·t·η·λ: the curves of all η and λ": (
        "by_eta_lambda/test_accuracy",
        "by_eta_lambda/train_loss",
    ),
    "Against update steps": ("test_accuracy", "train_loss", "l2_norm", "test_loss", "l2"),
}
# In any order but that of their creation, which would nest the runs.
_PAGE = """{"searchFilter": "tags.`l2dynamics.kind` = \\"run\\"",
"orderByKey": "metrics.`best/test_accuracy`", "orderByAsc": false, "startTime": "ALL", "lifecycleFilter": "Active",
"datasetsFilter": [], "modelVersionFilter": "All Runs", "selectedColumns": ["params.`eta`", "params.`l2`",
"params.`seed`", "metrics.`best/test_accuracy`", "metrics.`t_star/epochs`", "metrics.`t_star/eta_lambda`",
"tags.`results`", "tags.`group`", "tags.`diverged`"], "runsHiddenMode": "SHOW_ALL", "isAccordionReordered": true,
"hideEmptyCharts": true, "groupBy": null}"""
_SECTION = {"display": True, "isReordered": True, "deleted": False, "columns": 2, "cardHeight": 360}
# MLflow has a logarithmic x-axis for steps only.
_LINE = """{"type": "LINE", "deleted": false, "isGenerated": false, "runsCountToCompare": 100, "xAxisKey": "step",
"selectedXAxisMetricKey": "", "useGlobalXaxisKey": false, "xAxisScaleType": "log", "lineSmoothness": 0,
"useGlobalLineSmoothing": false, "range": {}, "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": false,
"displayPoints": false}"""


def tags() -> dict[str, str]:
    """Return the tags that an experiment with training runs gets."""
    sections, charts = [], []
    for number, (title, metrics) in enumerate(_SECTIONS.items()):
        section = f"l2dynamics-{number}"
        sections.append(_SECTION | {"uuid": section, "name": title})
        charts += [_line(section, metric) for metric in metrics]
    state = json.loads(_PAGE) | {"compareRunCharts": charts, "compareRunSections": sections}
    content = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
    packed = "deflate;" + base64.b64encode(zlib.compress(content.encode(), 9)).decode()
    view = {"name": "Training curves", "createdAt": 0, "updatedAt": 0, "state": packed}
    return {**KIND, PREFIX + CURVES: json.dumps(view)}


def _line(section: str, metric: str) -> dict[str, Any]:
    place = {"uuid": f"{section}-{metric}", "metricSectionId": section, "metricKey": metric}
    scale = "log" if metric.endswith(("train_loss", "l2")) else "linear"
    named = {"displayName": metric.rpartition("/")[2], "selectedMetricKeys": [metric], "scaleType": scale}
    return json.loads(_LINE) | place | named
