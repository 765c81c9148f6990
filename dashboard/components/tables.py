"""Tables whose search, order and page stand in the address, so that a link shows what its sender sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

T = TypeVar("T")
LIVE = "/~live"
"""What is behind a page's path where its live part is: no tenant and no adapter can be called so."""
PAGE_ROWS = 50
LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head. One with a `key` can be sorted by."""

    label: str
    key: str = ""
    numeric: bool = False


def columns(labels: Sequence[str]) -> list[Column]:
    """Heads of a table that cannot be sorted."""
    return [Column(label) for label in labels]


@dataclass(frozen=True, slots=True)
class TableAddress:
    """What the address says of a table, and addresses that say something else."""

    path: str
    query: Mapping[str, str]
    search: str
    sort: str
    """A column's key, with `-` before it: largest first."""
    page: int
    """From 1, of rows that are here."""
    after: str | None
    """Where the page begins, of rows that the API pages."""

    @staticmethod
    def of(request: Request, sort: str = "") -> TableAddress:
        """As the request has it; what makes no sense is as if it was not there."""
        query = dict(request.query_params)
        page = query.get("page", "1")
        return TableAddress(
            path=request.url.path.removesuffix(LIVE),
            query=query,
            search=query.get("q", "").strip()[:LONGEST_SEARCH],
            sort=query.get("sort", sort),
            page=max(int(page), 1) if page.isdecimal() and len(page) < 7 else 1,
            after=query.get("after") or None,
        )

    def link(self, **changes: str | int | None) -> str:
        """The same address with these parameters; `None` takes one away. Another search or order begins at page 1."""
        query: dict[str, Any] = dict(self.query)
        if changes.keys() - {"page", "after"}:
            changes = {"page": None, "after": None, **changes}
        query.update(changes)
        kept = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def sorted_by(self, key: str) -> str:
        """The address that sorts by a column: smallest first, and largest first when it is so already."""
        return self.link(sort=f"-{key}" if self.sort == key else key)

    def direction(self, key: str) -> str:
        """`aria-sort` of a column's head."""
        return {key: "ascending", f"-{key}": "descending"}.get(self.sort, "none")


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """One page of rows, and where the others are."""

    address: TableAddress
    rows: Sequence[T]
    total: int | None
    """`None`: the API does not count them."""
    first: int
    """Number of the first one, from 1; 0 where that is not known."""
    before: str | None
    """Address of the page before."""
    next: str | None


def page_of(
    address: TableAddress,
    rows: Sequence[T],
    *,
    text: Callable[[T], str],
    by: Mapping[str, Callable[[T], Any]],
    page_rows: int = PAGE_ROWS,
) -> Rows[T]:
    """A page of rows that are all here: those whose `text` has every word of the search, sorted by a key of `by`."""
    words = address.search.casefold().split()
    found = [row for row in rows if all(word in text(row).casefold() for word in words)] if words else list(rows)
    key = by.get(address.sort.removeprefix("-"))
    if key is not None:
        known = [row for row in found if key(row) is not None]
        unknown = [row for row in found if key(row) is None]
        found = sorted(known, key=key, reverse=address.sort.startswith("-")) + unknown
    last = max((len(found) - 1) // page_rows + 1, 1)
    page = min(address.page, last)
    return Rows(
        address=address,
        rows=found[(page - 1) * page_rows : page * page_rows],
        total=len(found),
        first=(page - 1) * page_rows + 1 if found else 0,
        before=address.link(page=page - 1 if page > 2 else None) if page > 1 else None,
        next=address.link(page=page + 1) if page < last else None,
    )


def page_from_api(address: TableAddress, rows: Sequence[T], following: str | None) -> Rows[T]:
    """A page as the API gave it. It knows only where the next one begins, so the way back is to the first."""
    return Rows(
        address=address,
        rows=rows,
        total=None,
        first=0,
        before=address.link(after=None) if address.after else None,
        next=address.link(after=following) if following else None,
    )
