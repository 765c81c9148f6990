"""The fleet's page: what engines hold, and orders that take them out of traffic and versions off them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.pages.fleet import Line, card_of, grid_of, lines_of, warmth
from dashboard.sessions import Person
from dashboard.templating import templates
from gateway.admin_key import admin_key
from tests.support.dashboard_parts import Visitor, seen
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def resident(stack: Stack) -> Iterator[None]:
    """All is loaded before, and in traffic after."""
    stack.wait_resident("acme/triage@1.0", "globex/sentiment@1.0")
    yield
    stack.house.registry.drains.lift(stack.engine.url)
    stack.wait_ready()


def test_the_page_shows_engines_versions_and_workers(operator: Visitor, stack: Stack) -> None:
    text = seen(operator.page("/fleet"))
    assert stack.engine.url.removeprefix("http://") in text
    assert "acme/triage@1.0" in text
    assert "1 of 1" not in text or "Places" in text
    assert "linked" in text
    assert "of the gateway's settings" in text


def test_the_grid_can_be_of_one_tenant_and_says_so_in_its_address(operator: Visitor) -> None:
    text = seen(operator.page("/fleet?tenant=globex").partition('id="residency"')[2])
    assert "globex/sentiment@1.0" in text
    assert "acme/triage" not in text
    assert "Nothing of this tenant is loaded" in seen(operator.page("/fleet?tenant=nobody"))


def test_an_engine_is_drained_with_a_reason_and_resumed(operator: Visitor, stack: Stack) -> None:
    done = operator.post("/fleet/drain", {"url": stack.engine.url, "reason": "a new <driver>"})
    assert done.headers["location"] == "/fleet"
    page = operator.page("/fleet")
    assert "gets no new requests; those on it finish." in seen(page)
    assert "Drained by root" in seen(page)
    assert "a new <driver>" in seen(page)
    assert "<driver>" not in page
    assert stack.house.registry.drains.all()[stack.engine.url].actor == "root"
    operator.post("/fleet/resume", {"url": stack.engine.url})
    assert "takes traffic again." in seen(operator.page("/fleet"))
    assert stack.house.registry.drains.all() == {}


def test_an_order_for_an_engine_that_is_not_there_is_told_on_the_page(operator: Visitor) -> None:
    operator.post("/fleet/drain", {"url": "http://10.9.9.9:1"})
    assert "there is no engine 'http://10.9.9.9:1'" in seen(operator.page("/fleet"))


def test_a_version_is_quarantined_with_its_reason_and_released(operator: Visitor, stack: Stack) -> None:
    operator.post("/fleet/quarantine", {"version": "globex/sentiment@1.0", "reason": "answers nonsense"})
    text = seen(operator.page("/fleet"))
    assert "globex/sentiment@1.0 is in quarantine" in text
    assert "production points at it: its requests fail answers nonsense" in text
    assert stack.chat("sentiment", "globex").status_code == 503
    operator.post("/fleet/release", {"version": "globex/sentiment@1.0"})
    text = seen(operator.page("/fleet"))
    assert "globex/sentiment@1.0 may be served again" in text
    assert "globex/sentiment@1.0 is in quarantine" not in text
    assert "answers nonsense" not in text
    wait_until("it to be served again", lambda: stack.chat("sentiment", "globex").status_code == 200)


def test_who_may_only_read_sees_no_order(visitor: Visitor, stack: Stack) -> None:
    visitor.become(Person("rea", "read", admin_key(stack.house.settings)))
    page = visitor.page("/fleet")
    assert "/fleet/drain" not in page
    assert "/fleet/quarantine" not in page
    assert visitor.post("/fleet/drain", {"url": stack.engine.url}).status_code == 403
    assert stack.house.registry.drains.all() == {}


def test_warmth_is_all_for_what_runs_and_none_after_an_hour() -> None:
    assert warmth(9999, in_flight=1) == 1.0
    assert warmth(0, in_flight=0) == 1.0
    assert 0.4 < warmth(60, in_flight=0) < 0.6
    assert warmth(3600, in_flight=0) == warmth(10**7, in_flight=0) == 0.0


def cell(**fields: object) -> dict[str, object]:
    return {"resident": True, "home": True, "in_flight": 0, "idle_s": 5.0, "strength": 0.9, **fields}


def test_a_cell_says_in_words_what_its_shade_and_edge_say() -> None:
    one, two, three, four = urls = [f"http://10.0.0.{number}:8001" for number in range(1, 5)]
    engines = {one: cell(in_flight=3), two: cell(home=False, idle_s=600.0), three: cell(resident=False)}
    row = {"version": "acme/triage@1.0", "wanted": False, "copies": 2, "homes": [one, three], "engines": engines}
    barred = {"version": "acme/triage@1.0", "reason": "no memory"}
    known = [{"url": url, "resident": [], "barred": [barred] if url == three else []} for url in urls]
    resident = [{"version": "acme/triage@1.0", "requests_per_s": 1.25}]
    known[0]["resident"] = resident
    grid = grid_of({"engines": urls, "rows": [row]}, known)
    text = seen(grid)
    assert "1.25/s · hot: 2 homes · nothing points at it" in text
    assert "3 in flight idle 10 min refused other base" in text
    assert 'class="cell h5 home"' in grid
    assert "The engine refuses it: no memory" in grid
    assert four.removeprefix("http://") in text


def test_who_waits_for_full_engines_is_told_once_for_each_base_with_place_and_weight() -> None:
    first = {"tenant": "acme", "weight": 3, "running": 1, "waiting": 2}
    second = {"tenant": "globex", "weight": 1, "running": 4, "waiting": 40}
    full = {"base_digest": "sha256:a", "base": "tiny", "line_waiting": 42, "line": [first, second]}
    idle = {"base_digest": "sha256:b", "base": "small", "line_waiting": 0, "line": []}
    lines = lines_of([full, full, idle])
    assert lines == [Line("tiny", 42, [first, second])]
    nothing = {"fleet": None, "rows": None, "grid": None, "fault": "", "loads": None, "may_operate": False}
    shown = templates().get_template("fleet_live.html").render(lines=lines, engines=[], quarantined=[], **nothing)
    text = seen(shown)
    assert "42 wait for engines of tiny" in text
    assert "acme next 2 1 3 globex 2 40 4 1" in text


def test_the_page_says_how_many_seats_an_engine_has_and_that_nobody_waits(operator: Visitor, stack: Stack) -> None:
    found = stack.http.get(f"{stack.url}/admin/v1/engines", headers=stack.operator).json()["engines"][0]
    text = seen(operator.page("/fleet"))
    assert "nobody waits" in text
    assert "Requests on it 0 of" in text if found["max_num_seqs"] else "Requests on it 0 In its batch" in text
    assert card_of({**found, "max_num_seqs": 8}).seats == 8
