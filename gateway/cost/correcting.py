"""What a correction of tokens does to dollars: they follow at the price that was in force when the attempt began."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.cost.tariff import price_of
from registry.catalog.snapshot import Catalog
from registry.days import when
from registry.ledger.corrections import Reprice
from registry.ledger.rows import UsageRow
from registry.ledger.usage_days import BILLED
from registry.money import cost_nano
from registry.names import SYSTEM


def reprice_by(catalog: Catalog) -> Reprice:
    """At the prices of this catalog."""

    def reprice(row: UsageRow, before: Mapping[str, int], after: Mapping[str, int]) -> int | str:
        """The difference in nano-dollars, or why there is none to know."""
        if row.tenant == SYSTEM:
            return "our own probes cost nobody anything"
        if row.outcome not in BILLED:
            return f"it ended as {row.outcome}, which is free whatever it used"
        adapter, base_digest = _model_of(catalog, row.served_model)
        if base_digest is None:
            return f"{row.served_model} is not in the registry any more"
        price = price_of(catalog, row.tenant, adapter, base_digest, row.started_at_ms)
        if price is None:
            return f"no price was in force for {row.served_model} at {when(row.started_at_ms)}"
        was, is_ = (
            cost_nano(tokens["prompt_tokens"], tokens["cached_tokens"], tokens["completion_tokens"], price)
            for tokens in (before, after)
        )
        never_priced = row.cost_nano is None and before["cost_nano"] == 0
        return is_ if never_priced else is_ - was

    return reprice


def _model_of(catalog: Catalog, served_model: str) -> tuple[str | None, str | None]:
    """The adapter's own name and the digest of its base, or of the base itself; no digest for what there is not."""
    owner, _, number = served_model.partition("@")
    tenant, _, adapter = owner.partition("/")
    if not adapter:
        base = catalog.bases.get(served_model)
        return None, None if base is None else base.digest
    entry = catalog.adapters.get((tenant, adapter))
    version = None if entry is None else entry.versions.get(number)
    return adapter, None if version is None else version.base_digest
