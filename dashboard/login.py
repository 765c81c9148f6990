"""Logging in: by a link that works once, or by a key. The gateway says whose a key is."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboard.faults import Fault, LoggedOut, Refused
from dashboard.guard import cookie_of
from dashboard.sessions import Person
from dashboard.web import THEME_COOKIE, THEMES, Dashboard, dashboard_of, form_of, own_path, render, session_of

YEAR_S = 365 * 86_400
LONGEST_KEY = 500
PREFETCHES = ("prefetch", "prerender")


async def person_of(dashboard: Dashboard, key: str) -> Person:
    """Whose key it is. Raises `LoggedOut` for nobody's, and other `Fault`s when the gateway cannot say."""
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable() and " " not in key):
        raise LoggedOut("This is no key: those have only letters, digits, - and _.", "Copy it whole, without spaces.")
    admin = dashboard.admin.of(key)
    try:
        me = await admin.get_or("/me", None, life_s=0)
        if me is None:  # a gateway that has one operator
            await admin.get("/quarantine", life_s=0)
            me = {"name": "root", "role": "operate"}
        return Person(str(me["name"]), "operate" if me["role"] == "operate" else "read", key)
    except Refused:
        return await _tenant_of(dashboard, key)


async def _tenant_of(dashboard: Dashboard, key: str) -> Person:
    """Who comes with a tenant's key. Raises `LoggedOut` where tenants have no pages."""
    if not any("tenant" in page.roles for page in dashboard.pages):
        raise LoggedOut("This is a tenant's key.", "Log in with an operator's key (`switchyard operators add`).")
    account: dict[str, Any] = await dashboard.serving.of(key).get("/account", life_s=0)
    return Person(str(account["tenant"]), "tenant", key)


async def make_link(dashboard: Dashboard, key: str) -> str:
    """An address that logs in once, as the key's person. Raises `Fault`."""
    token = dashboard.sessions.make_link(await person_of(dashboard, key))
    return f"{dashboard.settings.url}/enter/{token}"


async def new_link(request: Request) -> JSONResponse:
    """`POST /login-links` with a key as the bearer: for `switchyard up` and `switchyard dashboard link`."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    try:
        url = await make_link(dashboard_of(request), key.strip() if scheme.lower() == "bearer" else "")
    except Fault as fault:
        return JSONResponse({"error": {"message": f"{fault} {fault.remedy}".strip()}}, fault.status)
    return JSONResponse({"url": url}, 201, headers={"cache-control": "no-store"})


async def enter(request: Request) -> Response:
    """The link. It answers with a page that goes on by itself: a redirect of one that came from elsewhere would go
    without the cookie, which is for our own pages alone. Whom a page of others has sent here is asked first: the key
    behind the link may be another's, in whose name he would go on.
    """
    purpose = request.headers.get("sec-purpose", request.headers.get("purpose", ""))
    if request.method == "HEAD" or purpose.startswith(PREFETCHES):
        return Response(status_code=204)  # whoever looks ahead must not use it up
    sessions, token = dashboard_of(request).sessions, request.path_params["token"]
    was_sent = request.method == "GET" and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    person = sessions.look_at_link(token) if was_sent else sessions.use_link(token)
    if person is None:
        text = "This link has been used, or is too old."
        return _login_page(request, 401, text, "`switchyard dashboard link` makes another one; or log in with a key.")
    if was_sent:
        return render(request, "enter.html", name=person.name, role=person.role, token=token)
    response = render(request, "entered.html", name=person.name)
    _give_cookie(request, response, person)
    return response


async def show_login(request: Request) -> Response:
    """The form."""
    if request.scope.get("session") is not None:
        return RedirectResponse(own_path(request.query_params.get("to", "/")), status_code=303)
    return _login_page(request, 200)


async def log_in(request: Request) -> Response:
    """The form, filled in."""
    form = await form_of(request)
    try:
        person = await person_of(dashboard_of(request), form.get("key", ""))
    except Fault as fault:
        return _login_page(request, fault.status, str(fault), fault.remedy)
    response = RedirectResponse(own_path(form.get("to") or "/"), status_code=303)
    _give_cookie(request, response, person)
    return response


async def log_out(request: Request) -> Response:
    """End the session."""
    dashboard_of(request).sessions.end(request.cookies.get(cookie_of(request), ""))
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(cookie_of(request), path="/", secure=request.url.scheme == "https", httponly=True)
    return response


async def set_theme(request: Request) -> Response:
    """Light, dark, or as the system has it."""
    form = await form_of(request)
    response = RedirectResponse(own_path(form.get("to") or "/"), status_code=303)
    theme = form.get("theme", "auto")
    response.set_cookie(
        THEME_COOKIE, theme if theme in THEMES else "auto", max_age=YEAR_S, path="/", samesite="strict", httponly=True
    )
    return response


def end_sessions_of(request: Request) -> None:
    """Of a key that the gateway knows no more."""
    dashboard_of(request).sessions.end_all_of(session_of(request).person.key)


def _login_page(request: Request, status: int, fault: str = "", remedy: str = "") -> Response:
    return render(
        request,
        "login.html",
        status=status,
        fault=fault,
        remedy=remedy,
        to=own_path(request.query_params.get("to", "/")),
    )


def _give_cookie(request: Request, response: Response, person: Person) -> None:
    sessions = dashboard_of(request).sessions
    sessions.end(request.cookies.get(cookie_of(request), ""))  # whoever was logged in here before
    response.set_cookie(
        cookie_of(request),
        sessions.begin(person),
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


ROUTES = [
    Route("/login", show_login, methods=["GET"]),
    Route("/login", log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
    Route("/login-links", new_link, methods=["POST"]),
    Route("/enter/{token}", enter, methods=["GET", "POST"]),
    Route("/theme", set_theme, methods=["POST"]),
]
