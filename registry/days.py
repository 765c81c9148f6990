"""Days and months of UTC, which sums and budgets are kept by; instants are milliseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from registry.errors import InvalidInput

DAY_MS = 86_400_000
MOST_DAYS = 36_500
"""For which something is kept."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = date(1970, 1, 1).toordinal()


def as_datetime(ms: int) -> datetime:
    """An instant in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def day_number(ms: int) -> int:
    """The UTC day that an instant is in, counted from the epoch."""
    return ms // DAY_MS


def date_of(day: int) -> str:
    """`YYYY-MM-DD` of a day by its number."""
    return as_datetime(day * DAY_MS).strftime("%Y-%m-%d")


def day_of(ms: int) -> tuple[int, int]:
    """Begin and end of the UTC day that an instant is in, in milliseconds."""
    starts_ms = ms - ms % DAY_MS
    return starts_ms, starts_ms + DAY_MS


def month_of(ms: int) -> tuple[int, int]:
    """Begin and end of the UTC month that an instant is in, in milliseconds."""
    first = as_datetime(ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + 1, month=1) if first.month == 12 else first.replace(month=first.month + 1)
    return int(first.timestamp() * 1000), int(after.timestamp() * 1000)


def day_ms(text: str, param: str) -> int:
    """Midnight UTC of a day, in milliseconds since the epoch. Raises `InvalidInput`."""
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return (date.fromisoformat(text).toordinal() - _EPOCH) * DAY_MS
    except ValueError:
        raise InvalidInput(f"{param} is {text[:40]!r}; expected YYYY-MM-DD (UTC)", param=param) from None


def window_ms(
    since: str | None, until: str | None, usual: tuple[int, int], most_days: int | None = None
) -> tuple[int, int]:
    """From midnight UTC of one day until that of another, in milliseconds since the epoch; each as in `usual` where no
    day is named. Raises `InvalidInput`, also for a window that is empty, or longer than `most_days`.
    """
    since_ms = day_ms(since, "from") if since else usual[0]
    until_ms = day_ms(until, "until") if until else usual[1]
    first = date_of(day_number(since_ms))
    if since_ms >= until_ms and not until:
        raise InvalidInput(f"from is {first}, and the window ends before it; give an earlier day", param="from")
    if since_ms >= until_ms:
        raise InvalidInput(
            f"until is {until}, which is exclusive and not after from, {first}; for that one day, give "
            f"{date_of(day_number(since_ms) + 1)}",
            param="until",
        )
    if most_days is not None and until_ms - since_ms > most_days * DAY_MS:
        raise InvalidInput(
            f"from is {first}, more than {most_days} days before the end of the window; give a later day", param="from"
        )
    return since_ms, until_ms


def when(ms: int | None) -> str:
    """An instant as people read it: UTC, as documents have it, to the second; – for none."""
    return "–" if ms is None else as_datetime(ms).strftime("%Y-%m-%d %H:%M:%SZ")
