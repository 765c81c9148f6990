"""Where a client is, and what of that is taken for one client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = Sequence[IPv4Network | IPv6Network]
IPV6_PREFIX = 64
"""Bits of an address that one client has for itself, and more of."""
FORWARDED = b"x-forwarded-for"


def block_of(address: str) -> str:
    """What is taken for one client: an IPv4 address, the network of an IPv6 one."""
    if ":" not in address:
        return address
    host = ip_address(address.partition("%")[0])
    assert isinstance(host, IPv6Address)
    if host.ipv4_mapped is not None:
        return str(host.ipv4_mapped)
    return str(IPv6Network((host, IPV6_PREFIX), strict=False))


def is_within(host: str, networks: Networks) -> bool:
    """Whether an address lies in one of them."""
    return bool(networks and host) and any(ip_address(host.partition("%")[0]) in network for network in networks)


def address_of(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Networks) -> str:
    """The block of who asks. What a header says is believed of proxies in `trusted` alone: each adds whom it heard, so
    the last that is no such proxy is the client.
    """
    if not is_within(peer, trusted):
        return block_of(peer)
    said = b",".join(value for name, value in headers if name == FORWARDED).decode("latin-1")
    for host in reversed([one.strip() for one in said.split(",")]):
        try:
            if not is_within(host, trusted):
                return block_of(host) if host else block_of(peer)
        except ValueError:  # no address: whoever wrote it is not known
            break
    return block_of(peer)
