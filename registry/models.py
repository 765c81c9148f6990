"""The tables. Times are integer milliseconds since the epoch (UTC), money is integer nano-dollars."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER primary keys


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, int: BigInteger}  # noqa: RUF012


class CatalogRevision(Base):
    """One row. Every transaction that a gateway must learn of adds one to `value`."""

    __tablename__ = "catalog_revision"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[int]


class CatalogChange(Base):
    """One thing that a revision of the catalog changed; `registry.changes` writes these rows and drops old ones."""

    __tablename__ = "catalog_changes"
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    key: Mapped[str] = mapped_column(String(320), primary_key=True)


class Tenant(Base):
    """A customer of the installation."""

    __tablename__ = "tenants"
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    allow_unknown_fields: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at_ms: Mapped[int]


class ApiKey(Base):
    """A bearer key; only its SHA-256 is stored."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    shown: Mapped[str] = mapped_column(String(32))
    """First and last characters, for people to tell keys apart."""
    label: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[list[Any]]
    created_at_ms: Mapped[int]
    revoked_at_ms: Mapped[int | None]


class BaseModel(Base):
    """A base model by canonical digest."""

    __tablename__ = "base_models"
    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    spec: Mapped[dict[str, Any]]
    created_at_ms: Mapped[int]


class Adapter(Base):
    """A line of versions for one task of one tenant."""

    __tablename__ = "adapters"
    __table_args__ = (UniqueConstraint("tenant", "name"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    name: Mapped[str] = mapped_column(String(63))
    created_at_ms: Mapped[int]


class Version(Base):
    """One immutable set of weights. `manifest_digest` names all of its bytes."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("adapter_id", "major", "minor"),
        UniqueConstraint("adapter_id", "manifest_digest"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    major: Mapped[int] = mapped_column(Integer)
    minor: Mapped[int] = mapped_column(Integer)
    manifest_digest: Mapped[str] = mapped_column(String(80))
    base_digest: Mapped[str] = mapped_column(ForeignKey("base_models.digest"))
    facts: Mapped[dict[str, Any]]
    """What `inspect` found: rank, parameters, bytes, modules."""
    lineage: Mapped[dict[str, Any]]
    quarantined: Mapped[str | None] = mapped_column(String(1000))
    """Why no engine should load it; NULL when it may be served."""
    quarantined_by_machine: Mapped[bool] = mapped_column(Boolean, default=False)
    """Whether engines' refusals put it there: then an engine that proves it ends that."""
    created_at_ms: Mapped[int]


class VersionProof(Base):
    """The effect proof of one manifest's bytes: found in the folder by `publish`, or measured later and attached."""

    __tablename__ = "version_proofs"
    manifest_digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    blob_digest: Mapped[str] = mapped_column(String(80))
    attached: Mapped[bool] = mapped_column(Boolean)
    """Whether it came after the publish, and so is no part of the manifest."""
    largest_effect: Mapped[float] = mapped_column(Float)
    """In nats, as is `noise`."""
    noise: Mapped[float] = mapped_column(Float)
    created_at_ms: Mapped[int]


class Alias(Base):
    """A movable name for a version. `etag` counts its moves: the compare-and-swap is on it."""

    __tablename__ = "aliases"
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    etag: Mapped[int]


class AliasEvent(Base):
    """Append-only history of every move of every alias; triggers refuse UPDATE and DELETE."""

    __tablename__ = "alias_events"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    from_version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id"))
    to_version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    at_ms: Mapped[int]


class ModelMap(Base):
    """An external model name of a tenant (`gpt-4o-mini-2024-07-18`) and what it stands for here."""

    __tablename__ = "model_maps"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), primary_key=True)
    external: Mapped[str] = mapped_column(String(256), primary_key=True)
    target: Mapped[str] = mapped_column(String(200))
    created_at_ms: Mapped[int]


class AdminAction(Base):
    """Append-only: who changed what of tenants, keys and model names; triggers refuse UPDATE and DELETE."""

    __tablename__ = "admin_actions"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at_ms: Mapped[int]
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(40))
    tenant: Mapped[str] = mapped_column(String(63), index=True)
    subject: Mapped[str] = mapped_column(String(320))
    detail: Mapped[dict[str, Any]]


class Split(Base):
    """A sticky weighted split of one alias's traffic. One row may be active (`ended_at_ms` NULL) an alias."""

    __tablename__ = "splits"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    salt: Mapped[str] = mapped_column(String(64))
    arms: Mapped[list[Any]]
    """`[[version id, weight in 1/10000], …]` in a fixed order; weights sum to 10,000."""
    ranges: Mapped[list[Any] | None]
    """`[[until, version id], …]`: whose the buckets are (`registry.split_ranges`). NULL: one range an arm."""
    started_at_ms: Mapped[int]
    ended_at_ms: Mapped[int | None]


class SplitUnits(Base):
    """How a worker saw a split's traffic spread over units (`registry.split_skews`)."""

    __tablename__ = "split_units"
    split_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    worker: Mapped[str] = mapped_column(String(120), primary_key=True)
    source: Mapped[str] = mapped_column(String(40))
    requests: Mapped[int]
    of_one_unit: Mapped[int]
    noted_at_ms: Mapped[int]


class Swap(Base):
    """One promote, rollback or ramp: asked for by a row, executed by the fleet's controller, followed by the CLI."""

    __tablename__ = "swaps"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    expected_etag: Mapped[int]
    """The alias's etag when the swap was asked for; 0 when the alias did not exist."""
    to_version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    """What the alias points at afterwards; a ramp does not move it."""
    state: Mapped[str] = mapped_column(String(20), index=True)
    detail: Mapped[dict[str, Any]]
    """What each step has found. A ramp has `arms`: `[{"version", "version_id", "weight"}, …]`, in 1/10,000."""
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    requested_at_ms: Mapped[int]
    finished_at_ms: Mapped[int | None]


class Worker(Base):
    """A gateway process that serves, with the newest catalog revision that it has in force."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    url: Mapped[str] = mapped_column(String(200))
    acknowledged_revision: Mapped[int]
    heartbeat_at_ms: Mapped[int]


class ControllerLease(Base):
    """One row: which process may change the fleet, until when, and the token that tells its term from earlier ones."""

    __tablename__ = "controller_lease"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[int]
    holder: Mapped[str] = mapped_column(String(100))
    address: Mapped[str] = mapped_column(String(300))
    expires_at_ms: Mapped[int]


class EngineDrain(Base):
    """An engine that takes no new requests, by an operator's order."""

    __tablename__ = "engine_drains"
    url: Mapped[str] = mapped_column(String(200), primary_key=True)
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    since_ms: Mapped[int]


class UsageRow(Base):
    """One attempt on an engine, as the journal recorded it. Append-only, keyed by attempt id."""

    __tablename__ = "usage"
    __table_args__ = (
        Index("ix_usage_tenant_started", "tenant", "started_at_ms"),
        Index("ix_usage_started", "started_at_ms"),
    )
    attempt_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(64), index=True)
    tenant: Mapped[str] = mapped_column(String(63))
    key_id: Mapped[str] = mapped_column(String(32))
    requested_model: Mapped[str] = mapped_column(String(256))
    served_model: Mapped[str] = mapped_column(String(200))
    version_digest: Mapped[str | None] = mapped_column(String(80))
    """Manifest digest of the version that served; NULL for a base model, and in rows from before it was recorded."""
    split_id: Mapped[int | None]
    arm: Mapped[str | None] = mapped_column(String(20))
    unit_source: Mapped[str | None] = mapped_column(String(40))
    endpoint: Mapped[str] = mapped_column(String(20))
    engine: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(30))
    """`ok`, `client_aborted`, `engine_failed`, `load_failed`, `rejected`, `gateway_stopped` (it ran for longer than a
    stopping gateway waits), or `lost` (the process died before the end of the attempt was recorded)."""
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    usage_source: Mapped[str | None] = mapped_column(String(20))
    """`engine`: its final count; `partial`: its count up to the last relayed event; `estimated`: ours; NULL: none."""
    ttft_ms: Mapped[float | None] = mapped_column(Float)
    """From the attempt's begin to the first bytes of its answer."""
    cost_nano: Mapped[int | None]
    """At the tariff in force when it began; NULL: there was none. Failures of ours are 0."""
    started_at_ms: Mapped[int]
    finished_at_ms: Mapped[int | None]
    n: Mapped[int | None] = mapped_column(Integer)
    """Answers to each prompt; an engine reads, and counts, the prompt for each of them. NULL is 1."""
    bounded_by_us: Mapped[bool | None]
    """Whether the bound of the answer was ours (the client had named none) or the client's; NULL: it had none."""
    segment: Mapped[str | None] = mapped_column(String(160))
    """The journal segment that the attempt's end is in; NULL for what came by no journal."""


class RefusalDay(Base):
    """Requests of a tenant that were refused before they became attempts, added up by UTC day and reason."""

    __tablename__ = "refusals"
    day: Mapped[int] = mapped_column(Integer, primary_key=True)
    """UTC days since the epoch."""
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Public name of what would have answered; empty when the refusal came before that was known."""
    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    """What has the limit that refused it, such as `tenant:acme`; empty when no limit did."""
    reason: Mapped[str] = mapped_column(String(60), primary_key=True)
    """A limit's name (`requests_per_minute`, `daily_dollars`, …), else the error's code."""
    refused: Mapped[int]


class UsageDay(Base):
    """Usage rows and corrections, added up (`registry.usage_days`): what can be made again from these."""

    __tablename__ = "usage_days"
    day: Mapped[int] = mapped_column(Integer, primary_key=True)
    """UTC days since the epoch."""
    writer: Mapped[str] = mapped_column(String(140), primary_key=True)
    """Of the journal that the attempts came by; empty: none; `corrections`: differences, and no attempts."""
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    served_model: Mapped[str] = mapped_column(String(200), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(30), primary_key=True)
    attempts: Mapped[int]
    unmetered: Mapped[int]
    """Attempts that an engine worked on, and whose completion nobody counted."""
    unpriced: Mapped[int]
    """Attempts that somebody would pay for, and for which no price was in force."""
    partial: Mapped[int]
    estimated: Mapped[int]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    cost_nano: Mapped[int]
    busy_ms: Mapped[int]
    ttft_us: Mapped[int]
    """Of those attempts of which it is known: `with_ttft`."""
    with_ttft: Mapped[int]
    first_ms: Mapped[int | None]
    """The first attempt's begin."""
    last_ms: Mapped[int | None]
    """The last attempt's end."""


class UsageSegment(Base):
    """A journal segment that was shipped whole (`registry.segment_books.SegmentEntry`). Append-only."""

    __tablename__ = "usage_segments"
    __table_args__ = (UniqueConstraint("writer", "sequence"),)
    segment: Mapped[str] = mapped_column(String(160), primary_key=True)
    writer: Mapped[str] = mapped_column(String(140))
    sequence: Mapped[int]
    records: Mapped[int]
    intents: Mapped[int]
    attempts: Mapped[int]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    previous_digest: Mapped[str] = mapped_column(String(64))
    last: Mapped[bool] = mapped_column(Boolean)
    faults: Mapped[int]
    rows_digest: Mapped[str] = mapped_column(String(16), server_default="")


class UsageCorrection(Base):
    """What an attempt's row should have said, as differences. Append-only: a wrong correction is corrected again."""

    __tablename__ = "usage_corrections"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    attempt_id: Mapped[str] = mapped_column(ForeignKey("usage.attempt_id"), index=True)
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    cost_nano: Mapped[int]
    reason: Mapped[str] = mapped_column(String(1000))
    actor: Mapped[str] = mapped_column(String(100))
    created_at_ms: Mapped[int]


class EngineReading(Base):
    """An engine's own count of tokens at one moment of one boot, to hold the ledger against. Append-only."""

    __tablename__ = "engine_readings"
    engine: Mapped[str] = mapped_column(String(200), primary_key=True)
    boot_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """When its process began: counters start from 0 with each."""
    asked_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """The figures are of a moment between this and `answered_ms`."""
    answered_ms: Mapped[int]
    steps: Mapped[int]
    prompt_tokens: Mapped[int]
    generation_tokens: Mapped[int]


class ApiPrice(Base):
    """Dated list price of an API that an adapter replaces. Never edited: a new price is a new row."""

    __tablename__ = "api_prices"
    __table_args__ = (UniqueConstraint("model", "effective_from_ms"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str] = mapped_column(String(200))
    effective_from_ms: Mapped[int]
    input_nano_per_mtok: Mapped[int]
    cached_input_nano_per_mtok: Mapped[int]
    output_nano_per_mtok: Mapped[int]
    source: Mapped[str] = mapped_column(String(500))


class HostPrice(Base):
    """Dated hourly price of one engine host (GPU or CPU). Never edited: a new price is a new row."""

    __tablename__ = "host_prices"
    __table_args__ = (UniqueConstraint("name", "effective_from_ms"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    effective_from_ms: Mapped[int]
    nano_per_hour: Mapped[int]
    source: Mapped[str] = mapped_column(String(500))


class Tariff(Base):
    """A dated token price of what a scope names; triggers refuse UPDATE and DELETE: a new price is a new row, and takes
    the place of older rows that would begin no earlier.
    """

    __tablename__ = "tariffs"
    __table_args__ = (Index("ix_tariffs_scope", "scope"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    scope: Mapped[str] = mapped_column(String(200))
    """`base:NAME`, `tenant:NAME` or `adapter:tenant/adapter`."""
    effective_from_ms: Mapped[int]
    input_nano_per_mtok: Mapped[int]
    cached_input_nano_per_mtok: Mapped[int]
    output_nano_per_mtok: Mapped[int]
    source: Mapped[str] = mapped_column(String(500))
    added_at_ms: Mapped[int]


class Limit(Base):
    """What a scope may use; NULL is no limit. Minutes roll, days and months are those of UTC."""

    __tablename__ = "limits"
    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    """`tenant:NAME`, `key:ID` or `adapter:tenant/adapter`."""
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    concurrency: Mapped[int | None]
    daily_nano: Mapped[int | None]
    monthly_nano: Mapped[int | None]
    daily_tokens: Mapped[int | None]
    monthly_tokens: Mapped[int | None]
    warn_percent: Mapped[int | None]
    """1 to 100: the part of each budget at whose spending the operator and clients are warned."""
    changed_at_ms: Mapped[int]


class BudgetWarning(Base):
    """A budget of which a part that was to be told of is spent; once for each window, budget and percentage."""

    __tablename__ = "budget_warnings"
    # On PostgreSQL this index is partial too, as its migration says. To say so here imports that dialect everywhere,
    # a twentieth of what a command costs.
    __table_args__ = (
        Index("ix_budget_warnings_undelivered", "due_at_ms", sqlite_where=text("delivered_at_ms IS NULL")),
    )
    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    """`daily_nano`, `monthly_nano`, `daily_tokens` or `monthly_tokens`: which budget, and the unit of the figures."""
    starts_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    budget: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    warn_percent: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ends_ms: Mapped[int]
    spent: Mapped[int]
    noted_at_ms: Mapped[int]
    attempts: Mapped[int]
    """Deliveries that were begun."""
    due_at_ms: Mapped[int]
    """When the next delivery may begin; whoever begins one moves it on."""
    delivered_at_ms: Mapped[int | None]
