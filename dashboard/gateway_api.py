"""The one client of the gateway: asynchronous, with an end to each wait, and one request for all who ask at once."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import httpx

from dashboard.faults import Busy, Fault, Invalid, LoggedOut, Missing, Refused, Unreachable

LIFE_S = 2.0
"""How long an answer is good for whoever asks the same with the same key, unless a page says otherwise."""
MOST_KEPT = 500
OTHERWISE = re.compile(r"[^\x21-\x7e]|[?#\\]|(^|/)\.\.?(/|$)")
"""In a path: where a query begins, a step upwards, and what is in no address."""
CONNECTIONS = 16
NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Question:
    """A GET, as it is shared: two keys never share an answer."""

    key: str
    path: str
    query: tuple[tuple[str, str], ...]


class Known(NamedTuple):
    """An answer, and what the gateway calls its state."""

    document: Any
    etag: str | None


@dataclass(slots=True)
class Waited:
    """How long one page has waited for answers, the times of those that were asked for at once added up."""

    s: float = 0.0


class GatewayApi:
    """One of the gateway's APIs, for all sessions: `/admin/v1` or `/v1`."""

    def __init__(self, http: httpx.AsyncClient, url: str, prefix: str) -> None:
        self.url = url
        self._http = http
        self._prefix = prefix
        self._kept: OrderedDict[Question, tuple[float, asyncio.Task[Known]]] = OrderedDict()

    def of(self, key: str, waited: Waited | None = None) -> KeyedApi:
        """The same with a key; `waited` gets the time that its questions take."""
        return KeyedApi(self, key, waited or Waited())

    async def get(
        self, key: str, path: str, query: Mapping[str, Any], life_s: float, timeout_s: float | None = None
    ) -> Any:
        """The document at `path`, at most `life_s` old; waited for as long as usual if `timeout_s` is left out. What is
        as it was is not sent again. Raises `Fault`.
        """
        asked = tuple((name, _text(value)) for name, value in query.items() if value is not None)
        question = Question(key, path, asked)
        kept = self._kept.get(question)
        now = time.monotonic()
        failed = kept is not None and kept[1].done() and (kept[1].cancelled() or kept[1].exception() is not None)
        if kept is None or now >= kept[0] or failed:
            before = None if kept is None or failed or not kept[1].done() else kept[1].result()
            options = {} if timeout_s is None else {"timeout": timeout_s}
            task = asyncio.ensure_future(self._look(question, before, **options))
            task.add_done_callback(_look_at)
            kept = (now + life_s, task)
            self._kept[question] = kept
            self._kept.move_to_end(question)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return (await asyncio.shield(kept[1])).document  # who leaves must not take the answer from the others

    async def order(
        self, method: str, key: str, path: str, order: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> Any:
        """What an order did; what is kept is out of date then. Raises `Fault`."""
        try:
            body = {} if order is None else {"json": order}
            return await self._ask(method, path, key, **body, **options)
        finally:
            self._kept.clear()

    @asynccontextmanager
    async def stream(self, method: str, key: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """An answer while it comes; its status is good. Raises `Fault`."""
        try:
            url = self._url_of(path)
            async with self._http.stream(method, url, headers=_headers(key), **options) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise self._fault(answer)
                yield answer
        except httpx.HTTPError as error:
            raise self._away(error) from error

    async def _look(self, question: Question, before: Known | None, **options: Any) -> Known:
        """A document, or the one of before where that is what there is."""
        headers = {"If-None-Match": before.etag} if before is not None and before.etag else {}
        path = question.path
        answer = await self._answer("GET", path, question.key, params=question.query, headers=headers, **options)
        if before is not None and answer.status_code == NOT_MODIFIED:
            return before
        return Known(self._document(answer, path), answer.headers.get("etag"))

    async def _ask(self, method: str, path: str, key: str, **options: Any) -> Any:
        return self._document(await self._answer(method, path, key, **options), path)

    async def _answer(self, method: str, path: str, key: str, **options: Any) -> httpx.Response:
        headers = {**_headers(key), **options.pop("headers", {})}
        try:
            return await self._http.request(method, self._url_of(path), headers=headers, **options)
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _document(self, answer: httpx.Response, path: str) -> Any:
        if not answer.is_success:
            raise self._fault(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise Fault(
                f"What answers at {self.url} is no gateway: {path} is no JSON.",
                "See SWITCHYARD_DASHBOARD_ADMIN_URL.",
            ) from error

    def _url_of(self, path: str) -> str:
        """Raises `Missing` for what would be another address than the page means, as a name in it is no name."""
        if OTHERWISE.search(path):
            raise Missing("There is no such thing: no name has such characters.")
        return self._prefix + path

    def _away(self, error: httpx.HTTPError) -> Unreachable:
        why = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "does not answer"
        return Unreachable(
            f"The gateway at {self.url} {why}.",
            "Start it with `switchyard gateway` or `make up`, or say in SWITCHYARD_DASHBOARD_ADMIN_URL where it is.",
        )

    def _fault(self, answer: httpx.Response) -> Fault:
        """The gateway's own sentence, as one of ours."""
        try:
            error = answer.json()["error"]
            message, code, field = str(error["message"]), error.get("code"), error.get("param")
        except (ValueError, KeyError, TypeError):
            message, code, field = f"The gateway answered HTTP {answer.status_code}.", None, None
        match answer.status_code:
            case 401:
                return LoggedOut(message, "Log in with a key that is in force.")
            case 403:
                return Refused(message, "Ask for a key of an operator whose role allows it.")
            case 404 | 405 if code in (None, "unknown_url", "method_not_allowed"):
                return NoSuchRoute(f"This gateway has no {answer.request.url.path}.", "Update the gateway.")
            case 404:
                return Missing(message)
            case 503:
                return Busy(message, "It is asked again by itself.")
            case status if status < 500:
                return Invalid(message, field=field)
            case _:
                return Fault(message, "See the gateway's log.")


class NoSuchRoute(Missing):
    """The gateway is of another release, which does not know the route."""

    title = "This gateway cannot say that"


@dataclass(frozen=True, slots=True)
class KeyedApi:
    """What a page asks: the API with the key of its session. Every call raises `Fault`."""

    api: GatewayApi
    key: str
    waited: Waited
    timeout_s: float | None = None
    """Longest wait for a document; `None`: as the settings have it."""

    def waiting(self, timeout_s: float) -> KeyedApi:
        """The same, which waits longer."""
        return replace(self, timeout_s=timeout_s)

    async def get(self, path: str, *, life_s: float = LIFE_S, **query: Any) -> Any:
        """The document at `path`; `None` in the query is left out."""
        began_s = time.monotonic()
        try:
            return await self.api.get(self.key, path, query, life_s, self.timeout_s)
        finally:
            self.waited.s += time.monotonic() - began_s

    async def get_or(self, path: str, other: Any, *, life_s: float = LIFE_S, **query: Any) -> Any:
        """The same, or `other` where the gateway has no such route or thing."""
        try:
            return await self.get(path, life_s=life_s, **query)
        except Missing:
            return other

    async def post(self, path: str, order: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Order something; `options` are httpx's (`headers`, `params`, `timeout`)."""
        return await self.api.order("POST", self.key, path, order, options)

    async def put(self, path: str, order: Mapping[str, Any], **options: Any) -> Any:
        """Set something."""
        return await self.api.order("PUT", self.key, path, order, options)

    async def patch(self, path: str, order: Mapping[str, Any], **options: Any) -> Any:
        """Change something."""
        return await self.api.order("PATCH", self.key, path, order, options)

    async def delete(self, path: str, **options: Any) -> Any:
        """Take something away."""
        return await self.api.order("DELETE", self.key, path, None, options)


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Its failure is somebody's or nobody's, and no warning's."""
    if not task.cancelled():
        task.exception()
