"""The registry as one object: what every other package opens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.actions import Actions
from registry.adapters import Adapters
from registry.bases import BaseModels
from registry.blobs import BlobStore
from registry.catalog import EMPTY, Catalog
from registry.catalog_reader import update_catalog
from registry.db import Database
from registry.drains import Drains
from registry.engine_readings import EngineReadings
from registry.errors import InvalidInput
from registry.experiments import Experiments
from registry.leadership import Leadership
from registry.ledger import Ledger
from registry.limits import Limits
from registry.model_names import ModelNames
from registry.private import adapters_folder, private_folder
from registry.refusals import RefusalBooks
from registry.settings import RegistrySettings
from registry.spending import SpendingBooks
from registry.split_skews import SplitSkews
from registry.swaps import Swaps
from registry.tariffs import Tariffs
from registry.tenants import Tenants
from registry.workers import Workers


class Registry:
    """Every store of one installation. Blocking and thread-safe: call it off the event loop."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self.db = Database(settings.resolved_database_url)
        blobs = BlobStore(settings.blob_url) if settings.blob_url else BlobStore.in_folder(settings.state_dir / "blobs")
        self.bases = BaseModels(self.db, cache=settings.state_dir / "base-digests.json")
        self.adapters = Adapters(self.db, blobs, self.bases, settings.adapter_cache_dir, settings.max_lora_rank)
        self.tenants = Tenants(self.db)
        self.model_names = ModelNames(self.db)
        self.actions = Actions(self.db)
        self.swaps = Swaps(self.db)
        self.workers = Workers(self.db)
        self.leadership = Leadership(self.db)
        self.drains = Drains(self.db)
        self.experiments = Experiments(self.db)
        self.skews = SplitSkews(self.db)
        self.ledger = Ledger(self.db)
        self.readings = EngineReadings(self.db)
        self.tariffs = Tariffs(self.db)
        self.limits = Limits(self.db)
        self.spending = SpendingBooks(self.db)
        self.refusals = RefusalBooks(self.db)
        self._catalog = EMPTY

    def catalog(self) -> Catalog:
        """The newest catalog. The first call reads everything, later ones what changed since the one before them."""
        newest = update_catalog(self.db, self._catalog)
        self._catalog = newest  # of two threads that do this at once either may win: both are a sound start
        return newest

    def base_folder(self, digest: str) -> Path | None:
        """A folder on this machine that holds the base now, if one is known."""
        return next(self.base_folders(digest), None)

    def base_folders(self, digest: str) -> Iterator[Path]:
        """The folders that hold the base now, of those that were registered or prepared here."""
        prepared = sorted(path.parent for path in (self.settings.state_dir / "base").glob("*/config.json"))
        return self.bases.folders_of(digest, prepared)

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

        Raises `RegistryError` when the folder, the database or the object storage cannot be used.
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
            registry.db.migrate()
            yield registry
        finally:
            registry.db.close()
