"""The SQL that gives a line's counts, for who wants to see for themselves. It reads sums by day, on either database."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, func, or_, select

from registry.adapters.rows import Adapter
from registry.days import DAY_MS, day_ms
from registry.ledger.line_names import NONE
from registry.ledger.models import ADAPTER_NAME
from registry.ledger.rows import USAGE_DAYS
from registry.ledger.usage_days import BILLED
from registry.names import SYSTEM

COUNTED = ("attempts", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano", "unpriced")
_ARM = re.compile(r"split (\d+)(?:: (.*))?$")


def counts_query(by: str, name: str, tenant: str | None, since_ms: int, until_ms: int, *, shadow: bool = False) -> str:
    """Answered requests of one line, their tokens and tariff, on the UTC days of the window: on days of which it has a
    part alone, the query counts the whole day. Without a tenant, those of all tenants.
    """
    used = USAGE_DAYS.c
    query = select(*(func.sum(used[one]).label(one) for one in COUNTED)).where(
        used.day >= since_ms // DAY_MS,
        used.day < -(-until_ms // DAY_MS),
        used.outcome.in_(BILLED),
        used.shadow.is_(shadow),
        used.tenant != SYSTEM if tenant is None else used.tenant == tenant,
        *_of_line(by, name),
    )
    return str(query.compile(compile_kwargs={"literal_binds": True})).replace("\n", "")


def _of_line(by: str, name: str) -> Iterator[ColumnElement[bool]]:
    used = USAGE_DAYS.c
    match by:
        case "adapter":
            known = used.adapter_id.in_(select(Adapter.id).where(ADAPTER_NAME.in_([name])))
            version = used.served_model.startswith(f"{name}@", autoescape=True)
            yield or_(known, and_(used.adapter_id == 0, or_(used.served_model == name, version)))
        case "version":
            yield used.served_model == name
        case "key":
            yield used.key_id == name
        case "day":
            yield used.day == day_ms(name, "day") // DAY_MS
        case "engine":
            yield used.engine_id == name
        case "arm":
            found = None if name == NONE else _ARM.search(name)
            yield used.split_id == (int(found[1]) if found else 0)
            if found is not None:
                yield used.arm == (found[2] or "")
