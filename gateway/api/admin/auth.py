"""Who may use `/admin/v1`, and see what is the operator's: the bearer of the root key or of an operator's own, as
far as its role goes, or who comes by a listener that clients do not reach.
"""

from __future__ import annotations

import secrets
import time
from base64 import b64decode
from dataclasses import dataclass

from fastapi import Request
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from gateway.api.credentials import key_of
from gateway.catalog_watch import CatalogWatch
from gateway.errors import Forbidden, Headers, Unauthenticated
from registry.operators.store import ROOT, Role
from registry.tenants.store import hash_secret

NOT_KEPT: Headers = ((b"cache-control", b"no-store"),)
ASK_IN_BROWSER: Headers = ((b"www-authenticate", b'Basic realm="operator: any user, the admin key", charset="UTF-8"'),)
OPERATOR = "switchyard.operator"
"""In a scope behind the gate: the `Operator` who asks."""
READS = frozenset({"GET", "HEAD"})
"""Methods that change nothing: all that a key with the role `read` may use."""
BEARER = HTTPBearer(
    scheme_name="Operator's key",
    description="A key of `switchyard operators add`; or the root key: the setting admin_key (SWITCHYARD_ADMIN_KEY), "
    "else the content of the file admin-key in state_dir.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks, by the key that was shown."""

    name: str
    key_id: str | None
    """`None`: the root key, which has no row."""
    role: Role
    expires_at_ms: int | None = None


ROOT_OPERATOR = Operator(ROOT, None, "operate")


class AdminGate:
    """Tells operators from clients: by the listener, if there is one of the operator's own, and by the key. Knows the
    root key by its hash, operators' own by the catalog, and tenants' so far as to tell their bearers what is wrong.
    """

    def __init__(self, key: str, catalog: CatalogWatch, admin_port: int | None) -> None:
        """`admin_port` is that of the operator's listener."""
        self._hash = hash_secret(key)
        self._catalog = catalog
        self._admin_port = admin_port

    def enter(self, request: Request) -> Operator:
        """Of the admin API. Raises 404 for who comes by another listener than the operator's, and what `check` raises
        for who has not a key. A browser's login is none here: pages of others could use it to change things.
        """
        self._require_listener(request)
        key_of(request.scope["headers"])  # two of them are nobody's
        return self.check(_bearer(request))

    async def admit(self, request: Request) -> None:
        """To what only shows. Raises 404 likewise; the key is asked for only where there is no such listener, and may
        be the password of a browser's login.
        """
        self._require_listener(request)
        if self._admin_port is None:
            try:
                self.check(_bearer(request) or _password(request))
            except (Unauthenticated, Forbidden) as error:
                refusal = Unauthenticated(error.message, code=error.code) if _password(request) else error
                refusal.headers += NOT_KEPT  # and a browser would keep a password that got a 403
                refusal.headers += ASK_IN_BROWSER if _is_browser(request) and refusal.status == 401 else ()
                raise refusal from None

    def knows(self, request: Request) -> bool:
        """Whether this is the operator, as far as `admit` goes."""
        if self._admin_port is None:
            return self.owner(_bearer(request) or _password(request)) is not None
        return self._port_of(request) == self._admin_port

    def _require_listener(self, request: Request) -> None:
        if self._admin_port not in (None, self._port_of(request)):
            raise HTTPException(404)

    @staticmethod
    def _port_of(request: Request) -> int | None:
        address: tuple[str, int | None] | None = request.scope.get("server")
        return None if address is None else address[1]

    def owner(self, secret: str) -> Operator | None:
        """Whose key this is; `None`: no operator's, or it is over. Costs no look into the database."""
        hashed = hash_secret(secret)
        if secrets.compare_digest(hashed, self._hash):
            return ROOT_OPERATOR
        entry = self._catalog.current.operators.get(hashed)
        if entry is None or (entry.expires_at_ms is not None and time.time() * 1000 >= entry.expires_at_ms):
            return None
        return Operator(entry.name, entry.key_id, entry.role, entry.expires_at_ms)

    def check(self, secret: str) -> Operator:
        """Whose key this is. Raises `Unauthenticated` without a key or with an unknown one, `Forbidden` with a
        tenant's.
        """
        if not secret:
            raise Unauthenticated(
                "This needs the operator's key. Send it as 'Authorization: Bearer sk-admin-…' (or sk-operator-…).",
                code="missing_api_key",
            )
        if (operator := self.owner(secret)) is not None:
            return operator
        hashed = hash_secret(secret)
        if hashed in self._catalog.current.keys:
            raise Forbidden(
                "This is a tenant's key. The admin API takes the operator's key alone, which no tenant has.",
                code="not_an_admin_key",
            )
        if hashed in self._catalog.current.operators:
            raise Unauthenticated("This operator's key has expired. Have another one made.", code="expired_api_key")
        raise Unauthenticated("This is not the operator's key of this gateway.", code="invalid_api_key")


def require_role(operator: Operator, request: Request) -> None:
    """Raise `Forbidden` where the operator's role is less than what the method takes."""
    if operator.role != "operate" and request.method not in READS:
        raise Forbidden(
            f"{request.method} {request.url.path} needs the role 'operate', and this key of '{operator.name}' has "
            f"'{operator.role}'. Have a key with that role made: switchyard operators add {operator.name} --role "
            "operate.",
            code="role_needed",
        )


def _bearer(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _password(request: Request) -> str:
    """Of HTTP Basic, whoever the user is; empty when there is none that can be read."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "").lower()
