"""Where a tenant's webhook may lie: on the public internet, or in networks that the settings name.

A tenant chooses the address, and the gateway stands where no stranger may reach: so its name is resolved here, all that
it resolves to must be allowed, and the connection goes to the very address that was looked at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from registry.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
HIDES_OTHERS: tuple[Network, ...] = tuple(
    map(ip_network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)
"""Ways to write an IPv4 address within an IPv6 one, which somebody on the way may take apart."""


class NotAllowed(Exception):
    """An address that nothing may be sent to."""


async def allowed_address(host: str, port: int, *, encrypted: bool, networks: Collection[Network]) -> str:
    """An IP address of the host to connect to. Raises `NotAllowed`, `OSError`.

    What is not encrypted goes to the networks of the settings only.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))
    for text in addresses:
        check_address(ip_address(text), encrypted=encrypted, networks=networks)
    return addresses[0]


def refuse_undeliverable(url: str, networks: Collection[Network]) -> None:
    """Refuse what nothing will ever be sent to, whatever its host's name leads to. Raises `InvalidInput`."""
    try:
        parts = urlsplit(url)
        host, encrypted = parts.hostname or "", parts.scheme == "https"
    except ValueError:  # it is no URL, which the registry says
        return
    try:
        if (address := _address_in(host)) is not None:
            check_address(address, encrypted=encrypted, networks=networks)
        elif not encrypted and not networks:
            raise NotAllowed("it is not https")
    except NotAllowed as no:
        raise InvalidInput(
            f"url is {url[:80]!r}, and nothing would be sent there: {no}; give a public address with https, or let the "
            "operator allow its network (SWITCHYARD_WEBHOOK_NETWORKS)",
            param="url",
        ) from None


def _address_in(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def check_address(address: Address, *, encrypted: bool, networks: Collection[Network]) -> None:
    """Raises `NotAllowed`."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    meant = mapped or address
    if _is_in(meant, networks):
        return
    if not meant.is_global or meant.is_multicast or _is_in(meant, HIDES_OTHERS):
        raise NotAllowed("its address is not a public one")
    if not encrypted:
        raise NotAllowed("it is not https")


def _is_in(address: Address, networks: Collection[Network]) -> bool:
    return any(network.version == address.version and address in network for network in networks)
