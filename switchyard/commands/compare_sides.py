"""Whom a comparison asks: versions by their own names, other models as they are called, each at its endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from registry.adapters.version_rows import VersionInfo
from registry.db import now_ms
from registry.errors import InvalidInput, NotFound
from registry.names import parse_ref
from registry.service import Registry
from switchyard.commands.asking import elsewhere, gateway_asked
from trainer.endpoints.client import Client
from trainer.evaluation.sides import BASE, side_of
from trainer.pairwise.pairs import Contestant

NANO = 1e9
Dollars = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SideOrder:
    """A model as it was typed; with a URL it is asked there. `option` is what its options begin with."""

    model: str
    url: str | None
    key_env: str
    option: str


@dataclass(frozen=True, slots=True)
class Named:
    """Both sides, and how the gateway is asked for those that have no endpoint of their own."""

    a: SideOrder
    b: SideOrder
    tenant: str | None
    key: str | None
    url: str | None
    prices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Who sits at it: both, whoever else is asked at the gateway, and the tenant whose it is; None: nobody's."""

    a: Contestant
    b: Contestant
    gateway: Client | None
    tenant: str | None
    prices: Mapping[str, Dollars]


@contextmanager
def seated(registry: Registry, named: Named, others_at_gateway: bool) -> Iterator[Table]:
    """Both, until the end of the block. Raises `InvalidInput` where it is not known whose the gateway is asked as."""
    prices = dict(_price(text) for text in named.prices)
    versions = [_version(registry, side) for side in (named.a, named.b)]
    tenant = named.tenant or next((one.tenant for one in versions if one is not None), None)
    needs = others_at_gateway or named.a.url is None or named.b.url is None
    if needs and tenant is None and named.key is None:
        raise InvalidInput(
            "tenant is missing: neither side says as whom the gateway is asked; name one", param="tenant"
        )
    with ExitStack() as stack:
        gateway = None
        if needs:
            gateway = stack.enter_context(gateway_asked(registry, tenant or "", named.key, named.url)).client
        found = []
        for side, version, other in zip((named.a, named.b), versions, reversed(versions), strict=True):
            client = gateway
            if side.url is not None:
                client = stack.enter_context(client_at(side))
            assert client is not None
            found.append(_contestant(registry, side, version, other, client, tenant, prices))
        yield Table(found[0], found[1], gateway, tenant, prices)


@contextmanager
def client_at(side: SideOrder) -> Iterator[Client]:
    """The endpoint of one that has its own."""
    assert side.url is not None
    with elsewhere(side.url, side.key_env, f"--{side.option}-url", f"--{side.option}-key-env") as client:
        yield client


def _version(registry: Registry, side: SideOrder) -> VersionInfo | None:
    """The version that a name means now; None for any other model."""
    if side.url is not None or side.model == BASE:
        return None
    try:
        return registry.adapters.get(parse_ref(side.model))
    except (InvalidInput, NotFound):
        return None  # a base, or a name that the tenant gave: the gateway knows


def _contestant(
    registry: Registry,
    side: SideOrder,
    version: VersionInfo | None,
    other: VersionInfo | None,
    client: Client,
    tenant: str | None,
    prices: Mapping[str, Dollars],
) -> Contestant:
    if version is not None:
        found = side_of(version)
        dollars = prices.get(side.model) or prices.get(found.model)
        price = dollars or _tariff(registry, version.tenant, version.adapter, version.base_digest)
        return Contestant(found.model, client, found.digest, price)
    model = side.model
    if side.url is None and model == BASE:
        if other is None:
            raise InvalidInput(
                f"{side.option} is 'base', and the other is no version whose base that could be; write the base's name",
                param=side.option,
            )
        model = registry.bases.get(other.base_digest).name
    price = prices.get(side.model) or prices.get(model)
    if price is None and side.url is None and tenant is not None:
        price = _base_tariff(registry, tenant, model)
    return Contestant(model, client, None, price)


def _base_tariff(registry: Registry, tenant: str, model: str) -> Dollars | None:
    try:
        return _tariff(registry, tenant, None, registry.bases.get(model).digest)
    except NotFound:
        return None


def _tariff(registry: Registry, tenant: str, adapter: str | None, base_digest: str) -> Dollars | None:
    from gateway.cost.tariff import price_of

    price = price_of(registry.catalog(), tenant, adapter, base_digest, now_ms())
    return None if price is None else (price.input_nano_per_mtok / NANO, price.output_nano_per_mtok / NANO)


def _price(text: str) -> tuple[str, Dollars]:
    model, equals, dollars = text.rpartition("=")
    try:
        first, second = (float(part) for part in dollars.split(":"))
        if not equals or not model or not (0 <= first < float("inf") and 0 <= second < float("inf")):
            raise ValueError
    except ValueError:
        raise InvalidInput(
            f"price is {text[:80]!r}; expected MODEL=IN:OUT, such as gpt-5-mini=0.25:2", param="price"
        ) from None
    return model, (first, second)
