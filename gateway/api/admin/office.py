"""What the admin routes work with, and the few things that several of them do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Response
from pydantic import BaseModel

from gateway.errors import Overloaded
from gateway.fleet.worker import FleetWorker
from gateway.house import House
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.errors import InvalidInput
from registry.names import AdapterRef, VersionNumber, parse_ref
from registry.service import Registry

if TYPE_CHECKING:
    from gateway.cost.accountant.questions import Question

T = TypeVar("T")
NEXT = "X-Switchyard-Next"
"""Header of a CSV page that is not the last: what the next one comes after."""
CONTROLLER_RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Office:
    """This worker's catalog and link to the controller, and the registry.

    Calls of the registry block: routes make them in Starlette's thread pool, and not in asyncio's, in which the
    catalog is kept current.
    """

    house: House
    worker: FleetWorker
    registry: Registry

    async def knowledge(self) -> dict[str, Any]:
        """What the controller knows (`gateway.fleet.status`). Raises `Overloaded` when there is none."""
        document = await self.worker.inspect()
        if document is None:
            raise Overloaded(
                "No controller leads the fleet now, so nobody knows its state; what is resident is served on. "
                "A successor takes over within seconds.",
                code="controller_away",
                retry_after_s=CONTROLLER_RETRY_AFTER_S,
            )
        return document

    def name_of(self, version_id: int) -> str | None:
        """`tenant/adapter@1.0`; `None` for a version that this worker's catalog does not show yet."""
        version = self.house.catalog.current.versions_by_id.get(version_id)
        return version.name if version else None

    def base_names(self) -> dict[str, str]:
        """Digest → public name of every base model."""
        return {base.digest: base.name for base in self.house.catalog.current.bases.values()}


def in_json(document: BaseModel) -> Response:
    """An answer made into bytes where this is called: a big one in a thread, so that no stream waits for it."""
    return Response(document.model_dump_json(), media_type="application/json")


def answered(office: Office, question: Question) -> Response:
    """What the accountant answers. Raises as it does."""
    body, media_type, following = office.house.accountant.ask(question)
    return Response(body, media_type=media_type, headers={NEXT: following} if following else {})


def one_page(found: Sequence[T], limit: int, mark: Callable[[T], object]) -> tuple[Sequence[T], str | None]:
    """At most `limit` of what was found, of which there is one more when there is another page; and where that begins:
    the `mark` of the last that is shown, which comes back as `after`.
    """
    page = found[:limit]
    return page, str(mark(page[-1])) if len(found) > limit else None


def page_of(
    catalog: Catalog,
    after: str | None,
    limit: int,
    *,
    tenant: str | None = None,
    only: Callable[[VersionEntry], bool] = lambda _: True,
) -> tuple[Sequence[VersionEntry], str | None]:
    """At most `limit` versions by name and number that come after the version `after`; and where the next page begins.

    `only` says which versions count. It walks the catalog's own order and stops where the page ends, so that
    a page costs the same whatever the size of the catalog. Raises `InvalidInput` when `after` names no version.
    """
    last = _position(after) if after is not None else None
    found = (version for version in _walk(catalog, last, tenant) if only(version))
    return one_page(list(islice(found, limit + 1)), limit, attrgetter("name"))


def _position(name: str) -> tuple[str, str, VersionNumber]:
    ref = exact_version(name, "after")
    assert ref.version is not None
    return ref.tenant, ref.adapter, ref.version


def _walk(catalog: Catalog, last: tuple[str, str, VersionNumber] | None, tenant: str | None) -> Iterator[VersionEntry]:
    for owner in sorted(catalog.adapters_of) if tenant is None else (tenant,):
        if last is not None and owner < last[0]:
            continue
        for name in catalog.adapters_of.get(owner, ()):
            if last is not None and (owner, name) < last[:2]:
                continue
            versions = catalog.adapters[owner, name].versions
            for number in sorted(map(VersionNumber.parse, versions)):
                if last is None or (owner, name, number) > last:
                    yield versions[str(number)]


def exact_version(text: str, param: str) -> AdapterRef:
    """A reference with a number. Raises `InvalidInput` for an alias, which may have moved since somebody looked."""
    ref = parse_ref(text)
    if ref.version is None:
        raise InvalidInput(f"{param} is {text[:80]!r}; name the version itself, {ref.adapter_name}@1.0", param=param)
    return ref


def whole_adapter(text: str, param: str) -> AdapterRef:
    """`tenant/adapter`. Raises `InvalidInput` for a version or alias after it, which would be lost without a word."""
    if "@" in text:
        raise InvalidInput(f"{param} is {text[:80]!r}; write tenant/adapter alone, without an '@'", param=param)
    return parse_ref(text)
