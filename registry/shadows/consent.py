"""Nothing is copied of a tenant that has not said that it may be."""

from __future__ import annotations

from sqlalchemy.orm import Session

from registry.errors import InvalidInput
from registry.tenants.store import require_tenant


def require_consent(session: Session, tenant: str, *, lock: bool = False) -> None:
    """Raise `InvalidInput` without the tenant's consent; with `lock` it stays as it is until the transaction ends."""
    if not require_tenant(session, tenant, lock=lock).shadow_consent:
        raise InvalidInput(
            f"tenant {tenant!r} has not consented to copies of its requests; when it has, "
            f"`switchyard tenants set {tenant} --shadow-consent`",
            param="shadow",
        )
