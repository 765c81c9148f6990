"""What a correction of tokens does to dollars: they follow at the price that was in force when the attempt began."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.cost.tariff import price_of
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.days import when
from registry.ledger.corrections import Reprice
from registry.ledger.usage_days import BILLED
from registry.ledger.usage_record import UsageKind, UsageRow
from registry.money import cost_nano
from registry.names import SYSTEM, served_version


def reprice_by(catalog: Catalog) -> Reprice:
    """At the prices of this catalog."""

    def reprice(row: UsageRow, before: Mapping[str, int], after: Mapping[str, int]) -> int | str:
        """The difference in nano-dollars, or why there is none to know."""
        kind, end = row.kind, row.end
        if kind.tenant == SYSTEM:
            return "our own probes cost nobody anything"
        if end.outcome not in BILLED:
            return f"it ended as {end.outcome}, which is free whatever it used"
        adapter, base_digest = _model_of(catalog, kind)
        if base_digest is None:
            return f"{kind.served_model} is not in the registry any more"
        price = price_of(catalog, kind.tenant, adapter, base_digest, end.started_at_ms)
        if price is None:
            return f"no price was in force for {kind.served_model} at {when(end.started_at_ms)}"
        was, is_ = (
            cost_nano(tokens["prompt_tokens"], tokens["cached_tokens"], tokens["completion_tokens"], price)
            for tokens in (before, after)
        )
        never_priced = end.cost_nano is None and before["cost_nano"] == 0
        return is_ if never_priced else is_ - was

    return reprice


def _model_of(catalog: Catalog, kind: UsageKind) -> tuple[str | None, str | None]:
    """The adapter's own name and the digest of its base, or of the base itself; no digest for what there is not."""
    version = _version_of(catalog, kind)
    if version is not None:
        return version.adapter, version.base_digest
    base = catalog.bases.get(kind.served_model)
    return None, None if base is None else base.digest


def _version_of(catalog: Catalog, kind: UsageKind) -> VersionEntry | None:
    if kind.version_id is not None:
        return catalog.versions_by_id.get(kind.version_id)
    ref = served_version(kind.served_model)
    entry = None if ref is None else catalog.adapters.get((ref.tenant, ref.adapter))
    return None if entry is None or ref is None else entry.versions.get(str(ref.version))
