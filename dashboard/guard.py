"""What comes before every page: the session, where an order comes from and who gives it, what browsers may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.faults import Refused
from dashboard.hosts import is_ours
from dashboard.sessions import Session, Sessions
from dashboard.web import wants_part

OPEN = ("/login", "/enter/", "/login-links", "/static/", "/healthz", "/theme", "/favicon.ico")
"""Who is not logged in gets these."""
FOR_ALL = ("/logout", "/theme", "/login")
"""Orders that need no role."""
TENANTS = "/portal"
"""Below it are the pages of who came with a tenant's key."""
MOST_BYTES = 1024 * 1024
"""Of a form."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}


def cookie_of(request: Request) -> str:
    """The name of the session's cookie: over https one that no other host or path can set."""
    return "__Host-switchyard" if request.url.scheme == "https" else "switchyard"


class Guard:
    """The app behind the checks."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        tell: Callable[[Request, Exception], Awaitable[Response]],
        allowed_hosts: Collection[str],
    ) -> None:
        """`tell` makes a page of what was raised."""
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._sessions = sessions
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":  # there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if (stranger := self._not_ours(request)) is not None:
            await stranger(scope, receive, send)
            return
        session = self._sessions.find(request.cookies.get(cookie_of(request), ""))
        scope["session"] = session

        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await (self._refusal(request, session) or self._app)(scope, receive, with_headers)
        except Exception as error:
            if begun:
                raise
            response = await self._tell(request, error)
            await response(scope, receive, with_headers)

    def _not_ours(self, request: Request) -> Response | None:
        """An answer to what is sent to another host than this one, or as two persons."""
        hosts = request.headers.getlist("host")
        if not is_ours(hosts, self._allowed_hosts):
            shown = " and ".join(repr(host[:80]) for host in hosts) or "missing"
            return PlainTextResponse(
                f"Host is {shown}, and the dashboard is not opened under that name. Open it by an IP address, or have "
                "SWITCHYARD_DASHBOARD_ALLOWED_HOSTS list the name.",
                421,
            )
        if len(request.headers.getlist("authorization")) > 1:
            return PlainTextResponse("There are two Authorization headers; send one.", 400)
        return None

    def _refusal(self, request: Request, session: Session | None) -> Response | None:
        """An answer instead of the page, if it must not be shown. Raises `Fault`."""
        path = request.url.path
        changes = request.method not in ("GET", "HEAD")
        if changes:
            if _length(request) > MOST_BYTES:
                return PlainTextResponse(f"A form has at most {MOST_BYTES} bytes, and says how many.", 413)
            if path != "/login-links" and not from_our_page(request):  # that one is asked for with a key
                return PlainTextResponse("This order does not come from a page of the dashboard.", 403)
        if path.startswith(OPEN):
            return None
        if session is None:
            if wants_part(request):
                return PlainTextResponse("Nobody is logged in.", 401)
            here = f"{path}?{request.url.query}" if request.url.query else path
            return RedirectResponse(
                "/login" if changes or here == "/" else f"/login?to={quote(here, safe='')}", status_code=303
            )
        is_tenants = path == TENANTS or path.startswith(f"{TENANTS}/")
        if session.person.role == "tenant" and not is_tenants and path not in FOR_ALL:
            if not changes and path == "/":
                return RedirectResponse(TENANTS, status_code=303)
            raise Refused("This is an operator's page, and you came with a tenant's key.", f"Yours begin at {TENANTS}.")
        if changes and session.person.role == "read" and path not in FOR_ALL:
            raise Refused(
                f"{session.person.name} may look, and order nothing: the role of this key is `read`.",
                "Log in with a key whose role is `operate`.",
            )
        return None


def from_our_page(request: Request) -> bool:
    """Whether a form of ours was sent: browsers say where an order comes from, and cannot be made to lie about it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _length(request: Request) -> int:
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        return int(length)
    return MOST_BYTES + 1 if "transfer-encoding" in request.headers else 0
