"""How many engine hosts of each kind were paid for, as people write it."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors import InvalidInput


def hosts_of(text: str, known: Sequence[str]) -> dict[str, int]:
    """How many hosts of each kind: a number where one kind has prices, else `kind=number` with commas between them.

    Raises `InvalidInput`.
    """
    expected = f"a number of each kind, such as {','.join(f'{name}=1' for name in known or ('h100',))}"
    counts: dict[str, int] = {}
    for part in text.split(","):
        name, named, number = part.rpartition("=")
        if not (number.strip().isdecimal() and len(number) <= 6):
            raise InvalidInput(f"hosts is {text[:80]!r}; expected {expected}", param="hosts")
        if not named and len(known) > 1 and text != "1":
            raise InvalidInput(
                f"hosts is {text[:80]!r}, and {', '.join(known)} have prices; say {expected}", param="hosts"
            )
        names = [name.strip()] if named else [*known]
        for one in names:
            if one not in known:
                have = f"{', '.join(known)} have one" if known else "none has"
                raise InvalidInput(f"{one[:80]!r} has no hourly price; {have}", param="hosts")
            counts[one] = int(number)
    return counts
