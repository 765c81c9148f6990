"""What processes that serve, lead or train can be told of their log and their spans."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class TelemetrySettings(BaseModel):
    """A part of the settings of those processes."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="From which weight on the log on standard error has lines of ours; of libraries only warnings, "
        "whatever this says: what they tell of every call has keys in it.",
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Form of the log on standard error: lines for people, or a JSON object a line."
    )
    otel: bool = Field(
        False,
        description="Whether requests, loads, swaps and jobs are told to an OpenTelemetry collector as spans (needs "
        "switchyard[otel]). Where it is, OTEL_EXPORTER_OTLP_ENDPOINT says: http://host:4318; see docs/traces.md.",
    )
    otel_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="The share of traces, 0 to 1, that are told, by their ids: the same ones wherever this is the "
        "same. What a client has decided not to trace never is.",
    )
    otel_max_waiting: int = Field(
        8192,
        ge=1,
        le=1_000_000,
        description="Spans of a process that may wait for the collector, about 2 kB each; more are dropped, counted.",
    )

    @field_validator("otel")
    @classmethod
    def _can_be_told(cls, given: Any) -> Any:
        """Only with the packages for it, and to a collector that they can speak to."""
        if given:
            fault = _fault_of_packages() or _fault_of_environment()
            if fault is not None:
                raise ValueError(fault)
        return given


def _fault_of_packages() -> str | None:
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http") and find_spec("opentelemetry.sdk")
    except ModuleNotFoundError:
        found = None
    return None if found else "OpenTelemetry is not installed; pip install 'switchyard[otel]', or leave it off"


def _fault_of_environment() -> str | None:
    for name in PROTOCOLS:
        if os.environ.get(name, PROTOCOL) != PROTOCOL:
            return f"{name} is {os.environ[name]!r}, and only {PROTOCOL} is spoken, on a collector's port 4318"
    for name in ENDPOINTS:
        parts = urlsplit(os.environ.get(name) or "http://localhost:4318")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return f"{name} is no URL of a collector; expected http://host:4318"
    return None
