"""What a gateway can be told, by `SWITCHYARD_*` or `switchyard.toml`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork, field_validator, model_validator
from pydantic_settings import NoDecode

from gateway.access_settings import AccessSettings
from gateway.adapter_settings import AdapterSettings
from gateway.door_settings import DoorSettings
from gateway.engines.address import engine_url
from gateway.line_settings import LineSettings
from gateway.metric_settings import MetricSettings
from gateway.trust_settings import TrustSettings
from registry.days import MOST_DAYS
from registry.listed import Names, listed
from registry.secret_files import secret_in_file
from telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from gateway.engines.engine import Engine

STORES = ("valkey", "valkeys", "redis", "rediss", "unix")
"""Schemes of a `limits_store`."""
ENGINE_KEY_VARIABLE = r"^SWITCHYARD_ENGINE_KEY_[A-Z0-9_]+$"
"""Variables that engines' keys may be in: no order can have another secret of a host sent to an engine."""
ORIGIN = r"[a-z][a-z0-9+.-]*://[a-z0-9._~\[\]:-]+"
API_KEY = r"^[!-~]*$"
"""What can stand in a header: printable ASCII without spaces."""


EVERY_INTERFACE = ("0.0.0.0", "::", "")  # noqa: S104


def engine_key_in(variable: str) -> str | None:
    """An engine's key in the environment, or in the file that `VARIABLE_FILE` names; `None` where there is none that
    can stand in a header.
    """
    key = os.environ.get(variable, "") or secret_in_file(variable) or ""
    return key if key and re.fullmatch(API_KEY, key) else None


def _reachable_at(host: str, port: int) -> str:
    if host in EVERY_INTERFACE:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class EngineSettings(BaseModel):
    """One engine; what is not said is as the settings of all engines say."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="http://host:port")
    base: str | None = Field(None, description="Public name of the base model that it serves.")
    platform: Literal["cpu", "gpu"] | None = Field(None, description="Its hardware.")
    max_cpu_loras: int | None = Field(None, ge=3, description="Its --max-cpu-loras.")
    max_num_seqs: int | None = Field(None, gt=0, description="Its --max-num-seqs.")
    api_key: str | None = Field(None, pattern=API_KEY, repr=False, description="Its --api-key.")
    prompt_logprobs: bool | None = Field(None, description="Whether it survives log-probabilities of prompts.")
    kind: str = Field("vllm", description="What it is; vllm is the one kind that there is.")
    id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="What usage rows know it by, wherever it is; default: its URL.",
    )
    pool: str | None = Field(
        None, min_length=1, max_length=63, description="Engines that are paid for together, for `switchyard cost`."
    )


class GatewaySettings(
    AccessSettings, MetricSettings, AdapterSettings, LineSettings, TrustSettings, DoorSettings, TelemetrySettings
):
    """Settings of one gateway; every duration in seconds, every size in bytes."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65_535, description="Port to listen on.")
    admin_listen: str | None = Field(
        None,
        description="host:port of a listener of the operator's own, which alone has /metrics, /docs, /openapi.json, "
        "/admin/v1, and the details of /readyz; a port alone is on 127.0.0.1. Only /admin/v1 takes the key there, so "
        "no client may reach it. Default: they are on the gateway's port, and all of them take the admin key.",
    )
    engines: Annotated[list[str | EngineSettings], NoDecode, BeforeValidator(listed)] = Field(
        ["http://127.0.0.1:8001"],
        description="Engine URLs, http://host:port, on a network that only the gateway reaches (a JSON list, or with "
        "commas); or objects with `url` and what is special about one: `base`, `platform`, `max_cpu_loras`, `api_key`, "
        "`max_num_seqs`, `prompt_logprobs`, `kind`, `id`, `pool`.",
    )
    engine_base: str | None = Field(
        None, description="Public name of the base model that the engines serve; default: the only registered one."
    )
    engine_platform: Literal["cpu", "gpu"] = Field(
        "gpu", description="Hardware of the engines; decides the cures they need."
    )
    engine_prompt_logprobs: bool | None = Field(
        None,
        description="Whether clients may have log-probabilities of prompts (`echo` with `logprobs`, which evaluation "
        "harnesses send). Default: of GPU engines. A CPU engine (vLLM 0.32) survives them if it was started with "
        "--lora-target-modules without lm_head, as `switchyard up` does.",
    )
    engine_max_cpu_loras: int = Field(
        16,
        ge=3,
        description="The engines' --max-cpu-loras: adapters held at once, with the zero adapter and a free place.",
    )
    engine_chat_template: Literal["refuse", "warn"] = Field(
        "refuse",
        description="What becomes of an engine whose chat template renders conversations otherwise than the "
        "registered base's: it takes no traffic, or `switchyard fleet` and the log say so.",
    )
    engine_hung_after_s: float = Field(
        60.0,
        gt=0,
        description="An engine with requests in flight that makes no step for so long hangs; they are given up.",
    )
    requests_per_home: float = Field(
        32.0, gt=0, description="Mean requests in flight on an adapter for each engine that it is given as a home."
    )
    keep_alive_s: int = Field(
        75,
        ge=1,
        description="How long a client's connection may idle before it is closed: longer than the load balancer in "
        "front keeps it (AWS 60 s by default, Google Cloud 600 s).",
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that serve; 1 is all in one process.")
    limits_store: str | None = Field(
        None,
        repr=False,
        description="A Valkey or Redis, valkey://host:port/number, in which several gateways keep the limits and "
        "budgets that they share. Default: the workers of one gateway share through its controller.",
    )
    limits_fail_open: bool = Field(
        False,
        description="When limits_store (or the controller, or the ledger at first) cannot be asked: true counts on as "
        "if this process was alone, false refuses with 503 what is beyond the part that it has.",
    )
    engine_api_key: str | None = Field(
        None,
        repr=False,
        pattern=API_KEY,
        description="The engines' --api-key, if they have one; an engine's own `api_key` comes first.",
    )
    head_timeout_s: float = Field(300.0, gt=0, description="Longest wait for an engine's stream to begin.")
    answer_timeout_s: float = Field(
        900.0,
        gt=0,
        description="Longest wait for an engine's answer in one piece, which comes when all of it is made: 4,000 "
        "tokens at 10 a second take 400 s.",
    )
    stream_ping_s: float = Field(
        10.0,
        ge=0,
        description="A stream on which nothing comes for so long, at its begin or between two tokens, sends an SSE "
        "comment, for proxies that cut idle connections. What fails after the first one is an event of the stream and "
        "no status. 0 sends none.",
    )
    idle_timeout_s: float = Field(120.0, description="Longest silence within an engine's answer.")
    cold_wait_s: float = Field(30.0, description="Longest time a request waits for a cold adapter before 503.")
    max_in_flight: int = Field(
        1024,
        gt=0,
        description="Requests in flight on one worker. A tenant gets another place only while it has fewer than are "
        "free, so one tenant alone gets half of them.",
    )
    max_in_flight_per_tenant: int = Field(512, gt=0, description="Requests in flight of one tenant on one worker.")
    max_unfinished_bodies: int = Field(
        256,
        gt=0,
        description="Requests on one worker whose body is under way; each may hold 4 MiB. Shared by tenants likewise.",
    )
    body_timeout_s: float = Field(60.0, gt=0, description="Longest time in which a body must come.")
    body_min_bytes_per_s: int = Field(
        1024, gt=0, description="A body that comes more slowly than this after its first 10 s is refused with 408."
    )
    journal_max_unshipped_bytes: int = Field(
        256 * 1024 * 1024,
        gt=0,
        description="Usage of one worker that may wait for the database; with more, new requests are shed with 503.",
    )
    default_output_tokens: int = Field(
        1024,
        gt=0,
        description="max_tokens of a chat request that names none and is under a limit, until 100 answers of its model "
        "are known (then what 99 of 100 stay below); no more than the engines' --max-model-len.",
    )
    response_days: int = Field(
        30,
        ge=0,
        le=MOST_DAYS,
        description="How long responses and conversations of /v1/responses and /v1/conversations are kept; 0: they are "
        "never stored. A tenant may have its own (`switchyard tenants set`).",
    )
    max_stored_records: int = Field(
        10_000_000,
        ge=0,
        description="Responses, conversations and items of conversations that a tenant may have stored; with more, a "
        "request that would store something is a 429. A tenant may have its own (`switchyard tenants set`).",
    )
    max_stored_bytes: int = Field(50 * 1024**3, ge=0, description="Likewise, the bytes that they take in the database.")
    outcome_days: int = Field(
        90,
        gt=0,
        le=MOST_DAYS,
        description="How long outcomes are kept: feedback, findings in answers, and verdicts of judges.",
    )
    max_outcomes: int = Field(
        1_000_000,
        gt=0,
        description="Outcomes of each source that a tenant may have; feedback beyond that is a 429, and what is found "
        "in its answers is dropped.",
    )
    max_file_bytes: int = Field(
        512 * 1024 * 1024, gt=0, description="Longest file that a tenant may upload in one request to /v1/files."
    )
    max_upload_bytes: int = Field(
        8 * 1024**3, gt=0, description="Longest file that a tenant may upload in parts, by /v1/uploads."
    )
    max_files_per_tenant: int = Field(10_000, gt=0, description="Files that a tenant may have.")
    max_file_bytes_per_tenant: int = Field(
        50 * 1024**3, gt=0, description="Bytes that the files of a tenant may have in all."
    )
    file_timeout_s: float = Field(
        3600.0,
        gt=0,
        description="Longest time in which a file must come; it is as slow as body_min_bytes_per_s at most.",
    )
    max_unfinished_jobs_per_tenant: int = Field(
        20, gt=0, description="Fine-tuning jobs of a tenant that have not ended; who orders more gets a 429."
    )
    shadow_concurrency: int = Field(
        4, ge=0, description="Copies of requests to candidate versions that run at a time on one worker; 0: none ever."
    )
    shadow_engine_in_flight: int = Field(
        64, gt=0, description="An engine with so many requests of one worker in flight gets no copies from it."
    )
    pair_days: int = Field(
        7,
        ge=0,
        le=MOST_DAYS,
        description="How long texts of copied requests are kept; 0: only figures. A tenant may have its own.",
    )
    max_pairs_per_tenant: int = Field(100_000, ge=0, description="Pairs of answers to copied requests that are kept.")
    max_pair_bytes_per_tenant: int = Field(1024**3, ge=0, description="Likewise, the bytes of their texts.")
    budget_webhook_url: str | None = Field(
        None,
        repr=False,
        description="Where warnings of budgets (`switchyard limits set … --warn-at 80`) and of days on which a "
        "tenant cost much more than expected are sent by POST, as JSON: https://host/path. Tried again until a day "
        "after the budget's window, or for three days. Default: nowhere.",
    )
    budget_webhook_secret: str | None = Field(
        None,
        repr=False,
        min_length=1,
        description="Signs these, by the Standard Webhooks specification: `whsec_` and base64, or any other text.",
    )
    webhook_networks: list[IPvAnyNetwork] = Field(
        [],
        description='Private networks in which webhooks of tenants may lie, such as ["10.20.0.0/16"], also without '
        "https. Default: public addresses with https only.",
    )
    cors_origins: Names = Field(
        [],
        description="Origins of pages that may call /v1/… from a browser, such as https://app.example.com (a JSON "
        "list, or with commas), or * for all. What browsers keep for a site is never asked for: a page sends its key "
        "itself: where all can open it, all have that key. Default: none.",
    )
    request_log: Literal["json", "text", "off"] = Field(
        "json",
        description="A line for each request on standard output, never with prompts, answers or keys: as JSON, or as "
        "name=value. Lines are lost, and counted, when nobody reads them.",
    )
    catalog_poll_s: float = Field(0.5, description="How often the catalog's revision is looked at.")
    engine_check_s: float = Field(1.0, description="How often engines and the queue of swaps are looked at.")
    retire_after_s: float = Field(
        300.0, description="Unload an adapter that nothing points at after so long without use."
    )
    drain_timeout_s: float = Field(300.0, description="Longest wait of a swap for requests on the old version.")
    stop_delay_s: float = Field(
        5.0,
        ge=0,
        description="How long the gateway still accepts and serves after SIGTERM, while /readyz says 503: longer than "
        "load balancers take to notice. Ctrl-C has no such delay.",
    )
    stop_grace_s: int = Field(
        30,
        ge=0,
        description="How long running answers may go on after stop_delay_s; then they are ended, and cost nothing. Who "
        "stops the gateway should wait 10 s longer than both before killing it.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, given: list[str]) -> list[str]:
        """As browsers send them: scheme, host and port, in lower case."""
        origins = [origin.lower().removesuffix("/") for origin in given if origin]
        for origin in origins:
            if origin != "*" and not re.fullmatch(ORIGIN, origin):
                raise ValueError(f"{origin!r} is no origin; expected https://host or https://host:port, without a path")
        return origins

    @field_validator("admin_listen")
    @classmethod
    def _an_address(cls, given: str | None) -> str | None:
        """`host:port`."""
        if given is None:
            return None
        host, _, port = given.rpartition(":")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError("no address; expected host:port, or a port alone")
        return f"{host.strip('[]') or '127.0.0.1'}:{int(port)}"

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.admin_port == self.port:
            raise ValueError(f"admin_listen is {self.admin_listen!r}, and {self.port} is the gateway's own port")
        return self

    @field_validator("limits_store")
    @classmethod
    def _a_store(cls, given: str | None) -> str | None:
        """One that a Valkey client can connect to."""
        if given is None:
            return None
        parts = urlsplit(given)
        if parts.scheme not in STORES or not (parts.hostname or (parts.scheme == "unix" and parts.path)):
            raise ValueError(f"no URL of a Valkey; expected valkey://host:port/number (or {', '.join(STORES[1:])})")
        return given

    @field_validator("budget_webhook_url")
    @classmethod
    def _a_url(cls, given: str | None) -> str | None:
        """One that a request can be sent to."""
        if given is None:
            return None
        parts = urlsplit(given)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("no URL of a webhook; expected https://host/path")
        return given

    def engine_key(self, engine: Engine) -> str | None:
        """The --api-key of an engine: that in its variable of this process's environment, or its own, else that of all
        engines.
        """
        if engine.key_variable is not None:
            return engine_key_in(engine.key_variable)
        own = next((one.api_key for one in self.declared_engines() if one.url == engine.url), None)
        return own or self.engine_api_key

    def survives_prompt_logprobs(self, own: bool | None, platform: str) -> bool:
        """Whether an engine may be asked for log-probabilities of prompts, if it says so itself or not."""
        return next(said for said in (own, self.engine_prompt_logprobs, platform == "gpu") if said is not None)

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Where the operator's listener is, if there is one."""
        host, _, port = (self.admin_listen or "").rpartition(":")
        return (host, int(port)) if port else None

    @property
    def admin_port(self) -> int | None:
        """Of the operator's listener, by which it is known: the two have different ports."""
        return None if self.admin_address is None else self.admin_address[1]

    @property
    def url(self) -> str:
        """Where this host reaches what clients are served."""
        return _reachable_at(self.host, self.port)

    @property
    def admin_url(self) -> str:
        """Where this host reaches the admin API."""
        return self.url if self.admin_address is None else _reachable_at(*self.admin_address)

    def declared_engines(self) -> list[EngineSettings]:
        """Every engine, with its URL as the fleet knows it."""
        declared = [EngineSettings(url=one) if isinstance(one, str) else one for one in self.engines]
        return [one.model_copy(update={"url": engine_url(one.url)}) for one in declared]
