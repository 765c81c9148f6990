"""Which names a request may have been sent to. A page of a stranger can have its own name lead to an address of ours
(DNS rebinding) and then read what is shown there as if it was its own; but the name stays in `Host`.

An IP address and a name without a dot belong to no stranger. So these are right everywhere, others where they are
listed; where clients are served and none is listed, any is, as all that is served there takes a key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from gateway.errors import Misdirected

ANY = "*"
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s,]+)(?::\d{0,5})?")
LOCAL = ".localhost"


class Hosts:
    """The names of one gateway."""

    def __init__(self, allowed: Collection[str], admin_port: int | None) -> None:
        """`allowed` as the settings list them: names, `*.name` for all below one, `*` for all."""
        self._allowed = frozenset(name.lower() for name in allowed)
        self._below = tuple(name[1:] for name in self._allowed if name.startswith("*."))
        self._admin_port = admin_port
        self.on = (bool(allowed) or admin_port is not None) and ANY not in self._allowed

    def refusal(self, scope: Mapping[str, Any]) -> Misdirected | None:
        """What is said to who asks for another host; `None`: it is one of ours, or nobody minds."""
        server = scope.get("server")
        if not self._allowed and (server is None or server[1] != self._admin_port):
            return None
        given = [value.decode("latin-1") for name, value in _headers(scope) if name == b"host"]
        if len(given) == 1 and self._is_ours(given[0].lower()):
            return None
        return Misdirected(
            f"'Host' is {_shown(given)}, under which nothing is served here. Ask by an IP address, or by a name that "
            "SWITCHYARD_ALLOWED_HOSTS lists.",
            param="Host",
            code="unknown_host",
        )

    def _is_ours(self, host: str) -> bool:
        found = HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].removesuffix(".")
        if name in self._allowed or name.endswith((LOCAL, *self._below)):
            return True
        return "." not in name.strip("[]") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _headers(scope: Mapping[str, Any]) -> Iterable[tuple[bytes, bytes]]:
    found: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return found


def _shown(given: Collection[str]) -> str:
    return " and ".join(f"'{one[:80]}'" for one in given) if given else "missing"
