"""Unusual days as the admin API tells them: as they were found when the day was over, so that nobody who looks waits
for the arithmetic of all tenants. Days that nobody has looked at are looked at now.
"""

from __future__ import annotations

from typing import Any

from gateway.cost.outlook import jumps_of, last_days
from gateway.cost.outlook_words import jump_document
from registry.service import Registry


def jump_documents(
    registry: Registry, now_ms: int, *, tenant: str | None = None, days: int = 1
) -> list[dict[str, Any]]:
    """Of the last whole days, the newest first. Raises `InvalidInput` for too many days, `NotFound` for a tenant that
    there is not.
    """
    wanted = last_days(registry, now_ms, tenant=tenant, days=days)
    kept = registry.jump_looks.kept(wanted[0], wanted[-1] + 1, tenant)
    others = [day for day in wanted if day not in kept]
    for jump in jumps_of(registry, others, tenant):
        kept.setdefault(jump.day, []).append(jump_document(jump))
    return [said for day in sorted(kept, reverse=True) for said in kept[day]]
