"""The dashboard before 10,000 adapters and 1,000,000 ledger rows: first paint, what it costs the gateway, its death.

The rows are on engines that cost something.

`first_paint_s`: the slowest of the operator's pages in Chromium with nothing kept, from the click to the first
contentful paint; the median of three. `gateway_cpu_share`: of one processor, what the gateway spends more while one
viewer has one page open that keeps itself up to date, for the dearest page: what it spends beyond its idle time (the
mean of two windows around all pages) from when the page is whole, and, of each part that waits for as long as the
window or longer, what it took when it was opened alone over the seconds that it waits then. `opened_cpu_s`: what
opening a page takes, with nothing kept, part after part, also of the dearest. `hung_p50_ratio` and `killed_p50_ratio`:
median latency of requests while the dashboard is stopped (SIGSTOP) under viewers, and after kill -9, over that beside
one that works and whose pages are whole; each the median of `ROUNDS` rounds, of a dashboard and viewers of its own, in
which the slices stand side by side: the same slice may take twice as long a minute later on a machine that does other
things too. `errors` of requests in all slices.
"""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil
from playwright.sync_api import Browser, BrowserContext, Page

from dashboard.pages import PAGES
from gateway.admin_key import admin_key
from loadtest.ports import free_port
from registry.days import DAY_MS
from registry.db import now_ms
from registry.engine_costs.spans import SeenEngine
from registry.ledger.usage_record import Values, values_of
from tests.bars.support.bulk import fill
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.live.installation import ROOT
from tests.support.browser import running_browser
from tests.support.stack import CHAT, MESSAGES, House, open_house
from tests.support.usage_rows import usage_row
from tests.support.waiting import wait_until

ADAPTERS, TENANTS, ROWS, DAYS, BATCH = 10_000, 1_000, 1_000_000, 30, 5_000
PAINTS, WATCH_S, REQUESTS, ROUNDS = 3, 20.0, 400, 5
KNOWN_S = 10.0
"""Longest wait until a gateway knows a key."""
VIEWERS = count()
PAINT_LIMIT_S, SHARE_LIMIT, SAME = 2.0, 0.01, 1.25
"""`SAME`: what a median differs by from one slice to the next on a machine that does other things too."""
WAITS = "[...document.querySelectorAll('[data-live]')].map(part => Number(part.dataset.waitS))"
LATE_PARTS = "[...document.querySelectorAll('[data-live][data-late]')].map(part => part.dataset.live)"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Fill, look, watch, stop, kill."""
    with open_house(folder) as house:
        names = fill(house, max(1, int(TENANTS * scale)), max(10, int(ADAPTERS * scale)))
        _book(house, sorted(house.keys), max(1_000, int(ROWS * scale)))
        key = admin_key(house.settings)
        options = ("--model", str(house.base_folder), "--max-cpu-loras", "64")
        with (
            engine_processes(folder, 2, *options) as engines,
            gateway_process(house.settings.state_dir, [one.url for one in engines], request_log="off") as gateway,
        ):
            gateway.wait_engines(2)
            asked = _Asked(gateway, house, names, max(40, int(REQUESTS * scale)))
            asked.times()  # loads what is asked for
            with running_browser() as browser:
                with _dashboard(gateway, key) as (_, url, link):
                    paints = _paints(browser, link, url)
                    watch_s = max(5.0, WATCH_S * min(scale * 2, 1.0))
                    watched = _watch(browser, lambda: link(_another(house)), url, gateway, watch_s)
                rounds = [_round(gateway, key, browser, asked, number) for number in range(ROUNDS)]
    figures = {
        "first_paint_s": round(max(paints.values()), 3),
        "gateway_cpu_share": round(max(one.share(watch_s) for one in watched.values()), 4),
        "opened_cpu_s": round(max(one.opened_cpu_s for one in watched.values()), 2),
        "hung_p50_ratio": round(statistics.median(one.hung_s / one.beside_s for one in rounds), 3),
        "killed_p50_ratio": round(statistics.median(one.killed_s / one.beside_s for one in rounds), 3),
        "errors": asked.errors,
    }
    return {
        "adapters": len(names),
        "first_paint_s_by_page": {path: round(value, 3) for path, value in paints.items()},
        "gateway_cpu_share_by_page": {path: round(one.share(watch_s), 4) for path, one in watched.items()},
        "opened_cpu_s_by_page": {path: round(one.opened_cpu_s, 3) for path, one in watched.items()},
        "waits_s_by_page": {path: [part.wait_s for part in one.parts] for path, one in watched.items()},
        "p50_ms": [
            {name: round(1000 * getattr(one, f"{name}_s"), 2) for name in ("beside", "hung", "killed")}
            for one in rounds
        ],
        "figures": figures,
        "bars": {"no request fails, whatever becomes of the dashboard": figures["errors"] == 0},
        "speed": {
            f"every page paints within {PAINT_LIMIT_S:g} s": figures["first_paint_s"] <= PAINT_LIMIT_S,
            f"a page costs the gateway {SHARE_LIMIT:.0%} of a core": figures["gateway_cpu_share"] <= SHARE_LIMIT,
            "latency is the same while the dashboard hangs": figures["hung_p50_ratio"] <= SAME,
            "latency is the same when the dashboard is dead": figures["killed_p50_ratio"] <= SAME,
        },
    }


def _book(house: House, tenants: list[str], rows: int) -> None:
    """Attempts of the last 30 days, of all tenants, on engines that cost something."""
    draw, began_ms = random.Random(16), now_ms() - DAYS * DAY_MS
    _charge(house, began_ms)
    batch: list[Values] = []
    for number in range(rows):
        tenant = draw.choice(tenants)
        at_ms = began_ms + number * DAYS * DAY_MS // rows
        batch.append(
            values_of(
                usage_row(
                    f"{number:020x}-1",
                    request_id=f"{number:020x}",
                    tenant=tenant,
                    key_id=f"key-{tenant}",
                    served_model=f"{tenant}/adapter@1.0",
                    engine_id=f"engine-{draw.randrange(2)}",
                    usage_source="engine",
                    prompt_tokens=draw.randrange(1, 2_000),
                    completion_tokens=draw.randrange(500),
                    cost_nano=draw.randrange(10_000_000),
                    started_at_ms=at_ms,
                    finished_at_ms=at_ms + draw.randrange(20_000),
                )
            )
        )
        if len(batch) == BATCH or number == rows - 1:
            house.registry.ledger.book(batch)
            batch = []


def _charge(house: House, began_ms: int) -> None:
    """What engines cost, and that they were there."""
    house.registry.engine_costs.add(
        "*", "on_demand", {"hourly": "2"}, effective_from_ms=began_ms, source="a bar", actor="a bar", correct=True
    )
    seen = [
        SeenEngine(f"engine-{number}", f"http://{number}", "host", None, "sha256:b", "vllm on gpu", began_ms)
        for number in range(2)
    ]
    for at_ms in (began_ms + 1, now_ms()):
        house.registry.engine_spans.see(seen, at_ms)


@contextmanager
def _dashboard(gateway: GatewayProcess, key: str) -> Iterator[tuple[psutil.Process, str, Any]]:
    """The command, its address, and what makes login links."""
    port = free_port()
    command = [sys.executable, "-m", "switchyard", "dashboard", "--port", str(port), "--url", gateway.url]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=dict(gateway.environment))
    url = f"http://127.0.0.1:{port}"

    def link(of_key: str = key) -> str:
        headers = {"Authorization": f"Bearer {of_key}"}
        answer = httpx.post(f"{url}/login-links", headers=headers, timeout=30, trust_env=False)
        return str(answer.raise_for_status().json()["url"])

    try:
        wait_until("the dashboard to listen", lambda: _listens(url))
        yield psutil.Process(process.pid), url, link
    finally:
        process.kill()
        process.wait()


def _another(house: House) -> str:
    """The key of an operator who is new, so that the dashboard has kept no answer for it."""
    made = house.registry.operators.add(f"viewer-{next(VIEWERS)}", "operate", actor="a bar")
    house.registry.wait_until_served(KNOWN_S)
    return made.secret


def _listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _paths() -> list[str]:
    return [page.path for page in PAGES if "operate" in page.roles]


def _logged_in(browser: Browser, link: Any, url: str) -> BrowserContext:
    """Somebody who has just come, with nothing kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(link())
    page.wait_for_url(f"{url}/")
    page.close()
    return context


def _paints(browser: Browser, link: Any, url: str) -> dict[str, float]:
    """Page → seconds to its first paint, with files and answers that nobody has asked for yet."""
    found = {}
    for path in _paths():
        times = []
        for _ in range(PAINTS):
            context = _logged_in(browser, link, url)
            page = context.new_page()
            page.goto(url + path, wait_until="load")
            times.append(float(wait_until("a paint", partial(page.evaluate, PAINTED))) / 1000)
            context.close()
        found[path] = statistics.median(times)
    return found


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a page that keeps itself up to date, opened alone."""

    opened_cpu_s: float
    wait_s: float
    """Until it is asked for again."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one open page costs the gateway."""

    parts: list[Part]
    spent_share: float
    """Of one processor, while it is whole."""

    @property
    def opened_cpu_s(self) -> float:
        return sum(part.opened_cpu_s for part in self.parts)

    def share(self, for_s: float) -> float:
        """Of one processor, also of parts that may not have been asked for within the window of `for_s`."""
        return self.spent_share + sum(part.opened_cpu_s / part.wait_s for part in self.parts if part.wait_s >= for_s)


def _watch(browser: Browser, link: Any, url: str, gateway: GatewayProcess, for_s: float) -> dict[str, Watched]:
    """Every page in turn, each by an operator who is new, in a browser that has nothing kept: a key's answers are kept
    by the dashboard for minutes.
    """
    before = _spends(gateway, for_s)
    found = {}
    for path in _paths():
        context = _logged_in(browser, link, url)
        page = context.new_page()
        parts = _parts(page, url + path, gateway)
        found[path] = parts, _spends(gateway, for_s, page.wait_for_timeout)
        context.close()
    idle = (before + _spends(gateway, for_s)) / 2
    return {path: Watched(parts, max(0.0, spent - idle) / for_s) for path, (parts, spent) in found.items()}


def _parts(page: Page, address: str, gateway: GatewayProcess) -> list[Part]:
    """Parts of a page. Those that come later than it are opened one after the other; then all of it is."""
    let: list[str] = []
    page.route("**/~live*", lambda route: route.continue_() if _is_one(route.request.url, let) else route.abort())
    opened = _opened(page, address, gateway)
    late = page.evaluate(LATE_PARTS)
    parts = [] if late else [Part(opened, wait_s) for wait_s in page.evaluate(WAITS)]
    for part in late:
        let[:] = [part]
        opened = _opened(page, address, gateway)
        parts.append(Part(opened, page.evaluate(WAITS)[late.index(part)]))
    page.unroute("**/~live*")
    _opened(page, address, gateway)
    return parts


def _is_one(address: str, parts: Sequence[str]) -> bool:
    return any(address.endswith(part) for part in parts)


def _opened(page: Page, address: str, gateway: GatewayProcess) -> float:
    """Processor seconds of the gateway until it is whole, or as much of it as may come."""
    began = _family_s(gateway)
    _whole(page, address)
    return _family_s(gateway) - began


def _whole(page: Page, address: str) -> None:
    """Open it and wait for its late parts."""
    page.goto(address, wait_until="load")
    page.wait_for_selector("[data-late='']", state="detached", timeout=120_000)


def _spends(gateway: GatewayProcess, for_s: float, sleep_ms: Any = lambda ms: time.sleep(ms / 1000)) -> float:
    """Processor seconds of the gateway meanwhile."""
    before = _family_s(gateway)
    sleep_ms(for_s * 1000)
    return _family_s(gateway) - before


def _family_s(gateway: GatewayProcess) -> float:
    return sum(map(_spent_s, [(one := psutil.Process(gateway.pid)), *one.children(recursive=True)]))


def _spent_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Round:
    """Median latency of requests beside a dashboard that works, one that is stopped, and one that was killed."""

    beside_s: float
    hung_s: float
    killed_s: float


def _round(gateway: GatewayProcess, key: str, browser: Browser, asked: _Asked, number: int) -> Round:
    """In every second one, the dashboard is stopped before it is seen to work."""
    with _dashboard(gateway, key) as (process, url, link), _viewers(browser, link, url):
        beside_s = 0.0 if number % 2 else asked.times()
        process.suspend()
        hung_s = asked.times()
        process.resume()
        beside_s = beside_s or asked.times()
        process.send_signal(signal.SIGKILL)
        return Round(beside_s, hung_s, asked.times())


@contextmanager
def _viewers(browser: Browser, link: Any, url: str) -> Iterator[None]:
    """Each page is open somewhere, whole, and keeps itself up to date."""
    context = _logged_in(browser, link, url)
    for path in _paths():
        _whole(context.new_page(), url + path)
    try:
        yield
    finally:
        context.close()


class _Asked:
    """Requests one after the other, of a few adapters that are resident by then."""

    def __init__(self, gateway: GatewayProcess, house: House, names: list[str], requests: int) -> None:
        self._gateway, self._keys, self._requests = gateway, house.keys, requests
        self._names = names[:20]
        self.errors = 0

    def times(self) -> float:
        """Median seconds."""
        took = []
        with httpx.Client(timeout=30, trust_env=False) as http:
            for number in range(self._requests):
                name = self._names[number % len(self._names)]
                headers = {"Authorization": f"Bearer {self._keys[name.partition('/')[0]]}"}
                began = time.perf_counter()
                answer = http.post(
                    self._gateway.url + CHAT,
                    json={"model": name, "messages": MESSAGES, "max_tokens": 8},
                    headers=headers,
                )
                took.append(time.perf_counter() - began)
                self.errors += answer.status_code != 200
        return statistics.median(took)
