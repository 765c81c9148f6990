"""Stored responses: what is kept of a turn, who may see it, and what a conversation goes on from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from sqlalchemy import event, text, update

from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import InvalidInput
from registry.responses import conversations, store
from registry.responses.retention import Retention
from registry.responses.rows import StoredResponse
from registry.responses.sealing import Keyring
from registry.responses.store import StoredResponses
from registry.responses.turns import Item, NoSuchTurn, NotInBackground, StillRunning, TooLong, Turn
from registry.service import Registry

EVER = 0
MiB = 1 << 20


def said(text: str, number: int = 0) -> Item:
    return {"id": f"msg_{text}_{number}", "type": "message", "role": "user", "content": text}


def turn(id_: str, **fields: Any) -> Turn:
    answer = {"id": f"msg_of_{id_}", "type": "message", "role": "assistant", "content": f"answer {id_}"}
    status = fields.get("status", "completed")
    known: dict[str, Any] = {
        "tenant": "acme",
        "id": id_,
        "key_id": "key-1",
        "created_at_ms": now_ms(),
        "status": status,
        "model": "triage",
        "items": [said(f"question {id_}")],
        "output": [answer],
        "document": orjson.dumps({"id": id_, "status": status, "error": None, "output": [answer]}),
        "unit": "unit-1",
    }
    return Turn(**{**known, **fields})


def save(registry: Registry, *turns: Turn) -> None:
    registry.responses.save([registry.responses.sealed(one) for one in turns])


def contents(items: list[Item]) -> list[str]:
    return [item["content"] for item in items]


@pytest.fixture
def keep(registry: Registry) -> Callable[..., None]:
    def keep(*turns: Turn) -> None:
        save(registry, *turns)

    return keep


def test_a_response_is_read_as_it_was_answered(registry: Registry, keep: Callable[..., None]) -> None:
    one = turn("resp_1")
    keep(one, turn("resp_2"))
    assert registry.responses.document("acme", "resp_1", EVER) == one.document
    assert registry.responses.items("acme", "resp_1", EVER) == one.items


def test_what_an_older_version_has_stored_in_two_pieces_is_read_and_sealed_anew(registry: Registry) -> None:
    older, newer = turn("resp_1"), turn("resp_2", previous_id="resp_1")
    save(registry, older, newer)
    heard = orjson.dumps({"items": older.items, "unit": older.unit})
    with registry.db.write() as session:
        session.execute(
            update(StoredResponse)
            .where(StoredResponse.id == older.id)
            .values(
                turn=registry.keyring.seal(heard, "acme", older.id, store.TURN),
                document=registry.keyring.seal(older.document, "acme", older.id, store.DOCUMENT),
            )
        )
    responses = registry.responses
    for _ in range(2):
        assert responses.document("acme", "resp_1", EVER) == older.document
        assert responses.items("acme", "resp_1", EVER) == older.items
        recalled = responses.recall("acme", "resp_2", EVER, MiB)
        assert recalled.items == [*older.items, *older.output, *newer.items, *newer.output]
        keyring = Keyring(b64encode(bytes(32)).decode() + ",plain")
        assert Retention(registry.db, keyring).reseal() in (3, 0)
        responses = StoredResponses(registry.db, keyring)


def test_another_tenants_response_is_none(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1"))
    ask = registry.responses
    for refused in (
        lambda: ask.document("globex", "resp_1", EVER),
        lambda: ask.items("globex", "resp_1", EVER),
        lambda: ask.recall("globex", "resp_1", EVER, MiB),
        lambda: ask.delete("globex", "resp_1", EVER),
        lambda: ask.cancel("globex", "resp_1", EVER),
    ):
        with pytest.raises(NoSuchTurn):
            refused()
    assert ask.document("acme", "resp_1", EVER)


def test_two_tenants_may_have_the_same_id(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1"), turn("resp_1", tenant="globex", items=[said("mine")]))
    assert contents(registry.responses.items("globex", "resp_1", EVER)) == ["mine"]
    registry.responses.delete("globex", "resp_1", EVER)
    assert contents(registry.responses.items("acme", "resp_1", EVER)) == ["question resp_1"]


def test_a_conversation_is_recalled_from_its_first_turn_on(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", unit="root"))
    keep(turn("resp_2", previous_id="resp_1", unit="root"), turn("resp_other"))
    keep(turn("resp_3", previous_id="resp_2", unit="root"))
    recalled = registry.responses.recall("acme", "resp_3", EVER, MiB)
    assert contents(recalled.items) == [
        f"{what} resp_{number}" for number in (1, 2, 3) for what in ("question", "answer")
    ]
    assert recalled.unit == "root"
    assert 100 < recalled.bytes < 2_000


def test_two_turns_that_go_on_from_the_same_one_do_not_see_each_other(
    registry: Registry, keep: Callable[..., None]
) -> None:
    keep(turn("resp_1"), turn("resp_2a", previous_id="resp_1"), turn("resp_2b", previous_id="resp_1"))
    recalled = registry.responses.recall("acme", "resp_2b", EVER, MiB)
    assert contents(recalled.items)[2] == "question resp_2b"
    assert len(recalled.items) == 4


def test_a_deleted_turn_ends_the_conversation_with_its_name(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1"), turn("resp_2", previous_id="resp_1"))
    registry.responses.delete("acme", "resp_1", EVER)
    with pytest.raises(NoSuchTurn, match="resp_1"):
        registry.responses.recall("acme", "resp_2", EVER, MiB)


def test_what_is_too_old_is_not_there_before_anybody_deletes_it(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", created_at_ms=1_000), turn("resp_2", previous_id="resp_1"))
    with pytest.raises(NoSuchTurn, match="resp_1"):
        registry.responses.document("acme", "resp_1", 1_001)
    with pytest.raises(NoSuchTurn, match="resp_1"):
        registry.responses.recall("acme", "resp_2", 1_001, MiB)


def test_what_is_recalled_is_bounded_in_bytes_and_in_turns(
    registry: Registry, keep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(turn("resp_0", items=[said("x" * 100_000)]))
    for number in range(1, 4):
        keep(turn(f"resp_{number}", previous_id=f"resp_{number - 1}"))
    with pytest.raises(TooLong, match="100000 bytes"):
        registry.responses.recall("acme", "resp_3", EVER, 100_000)
    monkeypatch.setattr(store, "MOST_TURNS", 3)
    with pytest.raises(TooLong, match="3 turns"):
        registry.responses.recall("acme", "resp_3", EVER, MiB)


def test_a_turn_that_still_runs_cannot_be_gone_on_from(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", status="queued", worker="w-1"))
    with pytest.raises(StillRunning, match="queued"):
        registry.responses.recall("acme", "resp_1", EVER, MiB)


def test_a_background_response_goes_from_queued_to_its_end(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", status="queued", worker="w-1", output=[]))
    assert registry.responses.going_on("w-1") == {("acme", "resp_1")}
    registry.responses.begin("acme", "resp_1")
    assert orjson.loads(registry.responses.document("acme", "resp_1", EVER))["status"] == "in_progress"
    assert registry.responses.end(turn("resp_1"))
    assert orjson.loads(registry.responses.document("acme", "resp_1", EVER))["status"] == "completed"
    assert registry.responses.going_on("w-1") == set()


def test_a_cancelled_response_stays_so_whatever_its_run_says(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", status="queued", worker="w-1"), turn("resp_2", status="queued", worker="w-1"))
    assert orjson.loads(registry.responses.cancel("acme", "resp_1", EVER))["status"] == "cancelled"
    assert registry.responses.going_on("w-1") == {("acme", "resp_2")}
    assert not registry.responses.end(turn("resp_1"))
    assert orjson.loads(registry.responses.document("acme", "resp_1", EVER))["status"] == "cancelled"
    assert orjson.loads(registry.responses.cancel("acme", "resp_1", EVER))["status"] == "cancelled"


def test_a_response_that_somebody_waited_for_cannot_be_cancelled(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1"))
    with pytest.raises(NotInBackground):
        registry.responses.cancel("acme", "resp_1", EVER)


def test_a_run_that_is_deleted_goes_on_no_more(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", status="queued", worker="w-1"))
    registry.responses.delete("acme", "resp_1", EVER)
    assert registry.responses.going_on("w-1") == set()
    assert not registry.responses.end(turn("resp_1"))


def test_what_ran_on_a_worker_that_is_gone_has_failed(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", status="queued", worker="dead"), turn("resp_2", status="queued", worker="alive"))
    assert registry.responses.runners() == {"dead", "alive"}
    assert registry.responses.give_up({"dead"}) == 1
    failed = orjson.loads(registry.responses.document("acme", "resp_1", EVER))
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    assert registry.responses.going_on("alive") == {("acme", "resp_2")}
    assert registry.responses.give_up({"dead"}) == 0
    assert registry.responses.runners() == {"alive"}


def test_old_responses_go_in_batches_by_what_their_tenant_keeps(
    registry: Registry, keep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.responses.retention.BATCH", 2)
    now = now_ms()
    for days in (1, 8, 40, 41, 42, 43):
        keep(turn(f"resp_{days}", created_at_ms=now - days * DAY_MS))
        keep(turn(f"resp_{days}", tenant="globex", created_at_ms=now - days * DAY_MS))
    registry.tenants.change("globex", {"response_days": 7})
    assert registry.retention.expire(30, most_batches=1) == 2
    assert registry.retention.expire(30, most_batches=100) == 7
    assert {one.tenant: one.responses for one in registry.responses.kept()} == {"acme": 2, "globex": 1}
    registry.tenants.change("globex", {"response_days": 0})
    assert registry.retention.expire(30, most_batches=100) == 1


def test_no_tenant_has_so_much_that_is_old_that_anothers_stays(registry: Registry, keep: Callable[..., None]) -> None:
    old = now_ms() - 40 * DAY_MS
    keep(turn("resp_1", tenant="globex", created_at_ms=old))
    for number in range(40):
        keep(turn(f"resp_{number}", created_at_ms=old))
        registry.retention.expire(30, most_batches=1)
    assert not registry.responses.kept("globex")


def test_tenants_that_have_nothing_old_are_not_asked_about_one_by_one(
    registry: Registry, keep: Callable[..., None]
) -> None:
    keep(turn("resp_1", created_at_ms=now_ms()), turn("resp_2", tenant="globex", created_at_ms=now_ms()))
    asked: list[str] = []
    event.listen(registry.db.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert registry.retention.expire(30, most_batches=100) == 0
    assert len([one for one in asked if one.startswith("SELECT")]) == 1


def test_an_operator_deletes_all_of_one_tenant(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1"), turn("resp_1", tenant="globex"))
    registry.conversations.create("acme", [said("Hi")], {})
    assert registry.retention.delete("acme") == 2
    assert [one.tenant for one in registry.responses.kept()] == ["globex"]


def test_with_a_tenant_goes_all_that_is_kept_of_it(registry: Registry, keep: Callable[..., None]) -> None:
    keep(turn("resp_1", status="queued", worker="w-1"))
    registry.conversations.create("acme", [said("Hi")], {})
    with registry.db.engine.begin() as connection:
        connection.execute(text("DELETE FROM tenants WHERE name = 'acme'"))
        for table in ("responses", "conversations", "conversation_items", "background_runs"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


def test_a_conversation_gets_what_its_turns_said(registry: Registry, keep: Callable[..., None]) -> None:
    made = registry.conversations.create("acme", [said("system")], {"topic": "parcels"})
    keep(turn("resp_1", conversation_id=made.id, unit="mine"))
    keep(turn("resp_2", conversation_id=made.id, unit="other"))
    recalled = registry.conversations.recall("acme", made.id, EVER, MiB)
    assert contents(recalled.items) == [
        "system",
        "question resp_1",
        "answer resp_1",
        "question resp_2",
        "answer resp_2",
    ]
    assert recalled.unit == "mine"
    assert registry.conversations.get("acme", made.id, EVER).metadata == {"topic": "parcels"}


def test_a_full_conversation_is_refused_before_a_turn_and_never_behind_it(
    registry: Registry, keep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "MOST_ITEMS", 3)
    made = registry.conversations.create("acme", [said("1"), said("2")], {})
    registry.conversations.recall("acme", made.id, EVER, MiB)
    with pytest.raises(InvalidInput, match="at most 3"):
        registry.conversations.add("acme", made.id, EVER, [said("3"), said("4")])
    keep(turn("resp_1", conversation_id=made.id))  # it had begun when there was room
    assert len(registry.conversations.page("acme", made.id, EVER, None, 9, "asc").items) == 4
    with pytest.raises(TooLong, match="3 items"):
        registry.conversations.recall("acme", made.id, EVER, MiB)


def test_a_turn_without_an_answer_adds_nothing_to_its_conversation(
    registry: Registry, keep: Callable[..., None]
) -> None:
    made = registry.conversations.create("acme", [], {})
    keep(turn("resp_1", conversation_id=made.id, status="queued", output=[], worker="w-1"))
    assert registry.responses.end(turn("resp_1", conversation_id=made.id, status="failed", output=[]))
    assert registry.conversations.recall("acme", made.id, EVER, MiB).items == []


def test_a_conversation_that_was_deleted_meanwhile_loses_no_response(
    registry: Registry, keep: Callable[..., None]
) -> None:
    made = registry.conversations.create("acme", [], {})
    registry.conversations.delete("acme", made.id, EVER)
    keep(turn("resp_1", conversation_id=made.id))
    assert registry.responses.document("acme", "resp_1", EVER)


def test_items_of_a_conversation_come_in_pages(registry: Registry) -> None:
    made = registry.conversations.create("acme", [said(str(number)) for number in range(5)], {})
    first = registry.conversations.page("acme", made.id, EVER, None, 2, "desc")
    assert (contents(first.items), first.has_more) == (["4", "3"], True)
    rest = registry.conversations.page("acme", made.id, EVER, first.items[-1]["id"], 3, "desc")
    assert (contents(rest.items), rest.has_more) == (["2", "1", "0"], False)
    upwards = registry.conversations.page("acme", made.id, EVER, rest.items[0]["id"], 9, "asc")
    assert contents(upwards.items) == ["3", "4"]


def test_a_page_of_long_items_has_fewer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST_PAGE_BYTES", 2_000)
    texts = [*(f"{number} {'x' * 700}" for number in range(5)), "y" * 5_000]
    items = [{**said(str(number)), "content": text} for number, text in enumerate(texts)]
    made = registry.conversations.create("acme", items, {})
    got, after, pages, has_more = list[str](), None, list[int](), True
    while has_more:
        page = registry.conversations.page("acme", made.id, EVER, after, 9, "asc")
        has_more, after = page.has_more, page.items[-1]["id"]
        pages.append(len(page.items))
        got += contents(page.items)
    assert got == texts
    assert pages == [2, 2, 1, 1]


def test_what_comes_before_a_turn_is_read_in_small_parts(registry: Registry, keep: Callable[..., None]) -> None:
    made = registry.conversations.create("acme", [said(str(number)) for number in range(40)], {})
    assert contents(registry.conversations.recall("acme", made.id, EVER, MiB).items) == [str(n) for n in range(40)]
    for number in range(20):
        keep(turn(f"resp_{number}", previous_id=f"resp_{number - 1}" if number else None))
    assert len(registry.responses.recall("acme", "resp_19", EVER, MiB).items) == 40


def test_an_item_that_is_added_twice_gets_an_id_of_its_own(registry: Registry) -> None:
    made = registry.conversations.create("acme", [said("again")], {})
    (added,) = registry.conversations.add("acme", made.id, EVER, [said("again")])
    assert added["id"] != said("again")["id"]
    assert added["id"].startswith("msg_")
    registry.conversations.delete_item("acme", made.id, EVER, added["id"])
    assert len(registry.conversations.page("acme", made.id, EVER, None, 9, "asc").items) == 1


@pytest.mark.parametrize("id_", ["", "msg_\0", "x" * 81, "msg_ä", "'"])
def test_what_no_id_can_be_is_no_item(registry: Registry, id_: str) -> None:
    """Not every database can be asked for each of these."""
    made = registry.conversations.create("acme", [said("Hi")], {})
    ask = registry.conversations
    for refused in (
        lambda: ask.page("acme", made.id, EVER, id_, 1, "asc"),
        lambda: ask.item("acme", made.id, EVER, id_),
        lambda: ask.delete_item("acme", made.id, EVER, id_),
    ):
        with pytest.raises(NoSuchTurn, match="item"):
            refused()


def test_another_tenants_conversation_and_a_foreign_item_are_none(registry: Registry) -> None:
    made = registry.conversations.create("acme", [said("Hi")], {})
    other = registry.conversations.create("acme", [said("Ho")], {})
    ask = registry.conversations
    for refused in (
        lambda: ask.get("globex", made.id, EVER),
        lambda: ask.page("globex", made.id, EVER, None, 1, "asc"),
        lambda: ask.item("globex", made.id, EVER, said("Hi")["id"]),
        lambda: ask.add("globex", made.id, EVER, [said("x")]),
        lambda: ask.set_metadata("globex", made.id, EVER, {}),
        lambda: ask.recall("globex", made.id, EVER, MiB),
        lambda: ask.delete("globex", made.id, EVER),
        lambda: ask.item("acme", other.id, EVER, said("Hi")["id"]),
        lambda: ask.page("acme", other.id, EVER, said("Hi")["id"], 1, "asc"),
    ):
        with pytest.raises(NoSuchTurn):
            refused()


def test_a_conversation_that_was_not_used_for_long_goes_whole(registry: Registry) -> None:
    made = registry.conversations.create("acme", [said("Hi")], {})
    with registry.db.engine.begin() as connection:
        connection.execute(text("UPDATE conversations SET used_at_ms = 1000"))
    assert registry.retention.expire(30, most_batches=9) == 1
    with registry.db.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM conversation_items")).scalar_one() == 0
    with pytest.raises(NoSuchTurn):
        registry.conversations.get("acme", made.id, EVER)
