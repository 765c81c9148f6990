"""The registry as one object: what every other package opens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from sqlalchemy.exc import OperationalError

from registry.db import BLOBS_AT, Database
from registry.errors import InvalidInput
from registry.settings import RegistrySettings
from registry.storage.private import adapters_folder, private_folder

if TYPE_CHECKING:
    from registry.adapters.store import Adapters
    from registry.adapters.version_files import VersionFiles
    from registry.archive.store import UsageArchives
    from registry.audit.store import AuditLog
    from registry.bases.store import BaseInfo, BaseModels
    from registry.calibrations.store import Calibrations
    from registry.catalog.snapshot import Catalog
    from registry.deletion.store import Deletions
    from registry.engine_costs.busy import EngineBusy
    from registry.engine_costs.idle import IdlePolicies
    from registry.engine_costs.loads import EngineLoads
    from registry.engine_costs.spans import EngineSpans
    from registry.engine_costs.store import EngineCosts
    from registry.engine_costs.weights import EngineWeights
    from registry.experiments.store import Experiments
    from registry.fleet.drains import Drains
    from registry.fleet.engines import AddedEngines
    from registry.fleet.leadership import Leadership
    from registry.fleet.workers import Workers
    from registry.gates.store import Gates
    from registry.heads import Heads
    from registry.ledger.engine_readings import EngineReadings
    from registry.ledger.jump_looks import JumpLooks
    from registry.ledger.refusals import RefusalBooks
    from registry.ledger.store import Ledger
    from registry.limits.spending import SpendingBooks
    from registry.limits.store import Limits
    from registry.operators.store import Operators
    from registry.outcomes.checks import AdapterChecks
    from registry.outcomes.retention import OutcomeRetention
    from registry.outcomes.store import Outcomes
    from registry.outcomes.subjects import Subjects
    from registry.prices.baselines import Baselines
    from registry.prices.radar import Radar
    from registry.prices.tariffs import Tariffs
    from registry.responses.conversations import Conversations
    from registry.responses.retention import Retention
    from registry.responses.sealing import Keyring
    from registry.responses.store import StoredResponses
    from registry.responses.streams import ResponseStreams
    from registry.shadows.pair_store import ShadowPairs
    from registry.shadows.store import Shadows
    from registry.splits.skews import SplitSkews
    from registry.splits.store import Splits
    from registry.storage.blobs import BlobStore
    from registry.swaps.store import Swaps
    from registry.tenant_files.store import TenantFiles
    from registry.tenants.actions import Actions
    from registry.tenants.model_names import ModelNames
    from registry.tenants.store import Tenants
    from registry.training.store import TrainingJobs
    from registry.votes.ballots import Ballots
    from registry.votes.store import Votes
    from registry.webhooks.endpoints import WebhookEndpoints
    from registry.webhooks.outbox import Outbox

T = TypeVar("T")


class Store(Generic[T]):
    """A store that needs nothing but the database, imported and made when it is first asked for."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __set_name__(self, _owner: type, attribute: str) -> None:
        self._attribute = attribute

    def __get__(self, registry: Registry, _owner: type) -> T:
        store = self.made(getattr(import_module(self._module), self._name), registry)
        vars(registry)[self._attribute] = store  # from now on it is found there, before this descriptor
        return store

    def made(self, kind: Callable[..., T], registry: Registry) -> T:
        """A new one."""
        return kind(registry.db)


class SealingStore(Store[T]):
    """One that also needs the keys that seal what is of tenants."""

    def made(self, kind: Callable[..., T], registry: Registry) -> T:
        """A new one. Raises `InvalidInput` for a bad `store_key`."""
        return kind(registry.db, registry.keyring)


class Registry:
    """Every store of one installation. Blocking and thread-safe: call it off the event loop.

    A store is imported when it is asked for: most commands need one or two of them, and imports are most of their time.
    """

    tenants: Store[Tenants] = Store("registry.tenants.store", "Tenants")
    model_names: Store[ModelNames] = Store("registry.tenants.model_names", "ModelNames")
    operators: Store[Operators] = Store("registry.operators.store", "Operators")
    heads: Store[Heads] = Store("registry.heads", "Heads")
    audit: Store[AuditLog] = Store("registry.audit.store", "AuditLog")
    actions: Store[Actions] = Store("registry.tenants.actions", "Actions")
    swaps: Store[Swaps] = Store("registry.swaps.store", "Swaps")
    splits: Store[Splits] = Store("registry.splits.store", "Splits")
    experiments: Store[Experiments] = Store("registry.experiments.store", "Experiments")
    gates: Store[Gates] = Store("registry.gates.store", "Gates")
    skews: Store[SplitSkews] = Store("registry.splits.skews", "SplitSkews")
    workers: Store[Workers] = Store("registry.fleet.workers", "Workers")
    leadership: Store[Leadership] = Store("registry.fleet.leadership", "Leadership")
    drains: Store[Drains] = Store("registry.fleet.drains", "Drains")
    added_engines: Store[AddedEngines] = Store("registry.fleet.engines", "AddedEngines")
    ledger: Store[Ledger] = Store("registry.ledger.store", "Ledger")
    refusals: Store[RefusalBooks] = Store("registry.ledger.refusals", "RefusalBooks")
    jump_looks: Store[JumpLooks] = Store("registry.ledger.jump_looks", "JumpLooks")
    readings: Store[EngineReadings] = Store("registry.ledger.engine_readings", "EngineReadings")
    baselines: Store[Baselines] = Store("registry.prices.baselines", "Baselines")
    engine_costs: Store[EngineCosts] = Store("registry.engine_costs.store", "EngineCosts")
    engine_spans: Store[EngineSpans] = Store("registry.engine_costs.spans", "EngineSpans")
    engine_busy: Store[EngineBusy] = Store("registry.engine_costs.busy", "EngineBusy")
    engine_weights: Store[EngineWeights] = Store("registry.engine_costs.weights", "EngineWeights")
    engine_loads: Store[EngineLoads] = Store("registry.engine_costs.loads", "EngineLoads")
    idle_policies: Store[IdlePolicies] = Store("registry.engine_costs.idle", "IdlePolicies")
    tariffs: Store[Tariffs] = Store("registry.prices.tariffs", "Tariffs")
    limits: Store[Limits] = Store("registry.limits.store", "Limits")
    shadows: Store[Shadows] = Store("registry.shadows.store", "Shadows")
    spending: Store[SpendingBooks] = Store("registry.limits.spending", "SpendingBooks")
    responses: Store[StoredResponses] = SealingStore("registry.responses.store", "StoredResponses")
    response_streams: Store[ResponseStreams] = SealingStore("registry.responses.streams", "ResponseStreams")
    conversations: Store[Conversations] = SealingStore("registry.responses.conversations", "Conversations")
    retention: Store[Retention] = SealingStore("registry.responses.retention", "Retention")
    outcomes: Store[Outcomes] = SealingStore("registry.outcomes.store", "Outcomes")
    outcome_retention: Store[OutcomeRetention] = SealingStore("registry.outcomes.retention", "OutcomeRetention")
    webhooks: Store[WebhookEndpoints] = SealingStore("registry.webhooks.endpoints", "WebhookEndpoints")
    outbox: Store[Outbox] = SealingStore("registry.webhooks.outbox", "Outbox")
    votes: Store[Votes] = Store("registry.votes.store", "Votes")
    ballots: Store[Ballots] = SealingStore("registry.votes.ballots", "Ballots")
    answer_checks: Store[AdapterChecks] = Store("registry.outcomes.checks", "AdapterChecks")
    subjects: Store[Subjects] = Store("registry.outcomes.subjects", "Subjects")

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self.db = Database(settings.resolved_database_url, {BLOBS_AT: lambda: self.blobs.opened_with})
        self._catalog: Catalog | None = None

    @cached_property
    def blobs(self) -> BlobStore:
        """Where the bytes of adapters and of tenants' files lie."""
        from registry.storage.blobs import BlobStore

        url = self.settings.blob_url
        return (
            BlobStore(url, self.settings.blob_options)
            if url
            else BlobStore.in_folder(self.settings.state_dir / "blobs")
        )

    @cached_property
    def archives(self) -> UsageArchives:
        """Attempts that are in files of the object storage."""
        from registry.archive.store import UsageArchives

        return UsageArchives(self.db, self.blobs)

    @cached_property
    def calibrations(self) -> Calibrations:
        """How many tokens baselines count for each of ours."""
        from registry.calibrations.store import Calibrations

        return Calibrations(self.db, self.baselines)

    @cached_property
    def bases(self) -> BaseModels:
        """Base models by content and public name."""
        from registry.bases.store import BaseModels

        return BaseModels(self.db, cache=self.settings.state_dir / "base-digests.json")

    @cached_property
    def adapters(self) -> Adapters:
        """Adapters, their versions and aliases."""
        from registry.adapters.store import Adapters

        return Adapters(self.db, self.version_files, self.bases, self.settings.max_lora_rank)

    @cached_property
    def version_files(self) -> VersionFiles:
        """Versions in folders, for engines."""
        from registry.adapters.version_files import VersionFiles

        return VersionFiles(self.db, self.blobs, self.settings.adapter_cache_dir)

    @cached_property
    def keyring(self) -> Keyring:
        """What seals responses, files and such of tenants. Raises `InvalidInput` for a bad `store_key`."""
        from registry.responses.sealing import Keyring

        return Keyring(self.settings.store_key)

    @cached_property
    def files(self) -> TenantFiles:
        """Files of tenants."""
        from registry.tenant_files.store import TenantFiles

        return TenantFiles(self.db, self.blobs, self.keyring, self.training.unfinished_with)

    @cached_property
    def training(self) -> TrainingJobs:
        """Fine-tuning jobs."""
        from registry.training.store import TrainingJobs

        return TrainingJobs(self.db, self.adapters)

    @cached_property
    def deletions(self) -> Deletions:
        """Tenants that are deleted, with what is theirs."""
        from registry.deletion.store import Deletions

        return Deletions(self.db, self.blobs, self.version_files, self.files.parts)

    @cached_property
    def radar(self) -> Radar:
        """What vendors switch off, and who depends on it."""
        from registry.prices.radar import Radar

        return Radar(self.db, self.baselines)

    @cached_property
    def pairs(self) -> ShadowPairs:
        """What came of copies of requests."""
        from registry.shadows.pair_store import ShadowPairs

        return ShadowPairs(self.db, self.keyring)

    def load(self) -> None:
        """Import every store now: a process that lives long must not meet a newer release's files later."""
        for name, member in vars(Registry).items():
            if isinstance(member, (Store, cached_property)):
                getattr(self, name)
        self.blobs.check()

    def catalog(self) -> Catalog:
        """The newest catalog. The first call reads everything, later ones what changed since the one before them."""
        from registry.catalog.reader import update_catalog
        from registry.catalog.snapshot import EMPTY

        newest = update_catalog(self.db, self._catalog or EMPTY)
        self._catalog = newest  # of two threads that do this at once either may win: both are a sound start
        return newest

    def base_folder(self, digest: str) -> Path | None:
        """A folder on this machine that holds the base now, if one is known."""
        return next(self.base_folders(digest), None)

    def base_folders(self, digest: str) -> Iterator[Path]:
        """The folders that hold the base now, of those that were registered or prepared here."""
        prepared = sorted(path.parent for path in (self.settings.state_dir / "base").glob("*/config.json"))
        return self.bases.folders_of(digest, prepared)

    def measured(self, base: BaseInfo) -> BaseInfo:
        """The base with its tokenizer measured: older installations have not, and do it when a folder is at hand."""
        if base.tokens is not None:
            return base
        folder = self.base_folder(base.digest)
        return base if folder is None else self.bases.register(base.name, folder)

    def wait_until_served(self, timeout_s: float = 3.0) -> bool:
        """Return when every live gateway worker has the newest catalog in force; False when one has not in time."""
        revision = self.db.catalog_revision()
        deadline = time.monotonic() + timeout_s
        while any(worker.acknowledged_revision < revision for worker in self.workers.live()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    @classmethod
    @contextmanager
    def open(cls, settings: RegistrySettings | None = None) -> Iterator[Registry]:
        """Open with the schema brought up to date; close at the end of the block.

        Raises `RegistryError` when the folder, the database or the object storage cannot be used, in the block too.
        """
        settings = settings or RegistrySettings()
        try:
            if not settings.state_dir.is_dir():
                private_folder(settings.state_dir)
            adapters_folder(settings.state_dir, settings.adapter_cache_dir, settings.engine_group)
        except OSError as error:
            raise InvalidInput(
                f"state_dir is {str(settings.state_dir)!r} and cannot be used ({error.strerror}); "
                "name a folder that can be written to, in SWITCHYARD_STATE_DIR",
                param="state_dir",
            ) from error
        registry = cls(settings)
        try:
            if settings.blob_url:
                registry.blobs.check()  # refused before anything is done, and not half-way
            registry.db.migrate()
            yield registry
        except OperationalError as error:
            raise registry.db.unusable(error) from error
        finally:
            registry.db.close()
