"""How Grafana is told of a dashboard: a panel has a title, a unit, and queries with their legends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["timeseries", "stat", "table", "bargauge"]
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24
HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. Units are Grafana's own names."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    """PromQL, and the legend of its series."""
    text: str = ""
    """What the reader should know."""
    kind: Kind = "timeseries"
    width: int = 8
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    panels: Sequence[Panel]


_SOURCE_CHOICE = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
_INSTANCE_CHOICE = {
    "name": "instance",
    "label": "Gateway",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(switchyard_build_info, instance)", "refId": "instance"},
    "refresh": 2,
    "includeAll": True,
    "multi": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}


def dashboard(board: Board) -> str:
    """Its JSON."""
    document = {
        "uid": board.uid,
        "title": board.title,
        "tags": ["switchyard"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_SOURCE_CHOICE, _INSTANCE_CHOICE]},
        "panels": list(_panels(board.panels)),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _panels(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        yield _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT})
        x += panel.width


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": None if panel.unit == "short" else 0}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 25 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "showPoints": "never",
        }
    return {
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
                **({"instant": True, "range": False} if panel.kind == "bargauge" else {}),
            }
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }


def _options(kind: Kind) -> dict[str, Any]:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        **({"orientation": "horizontal"} if kind == "bargauge" else {}),
    }
