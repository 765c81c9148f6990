"""What tells conversations apart and stays through each of them, and whose traffic is not spread."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.bytes_in_flight import HeldBytes
from gateway.handoffs import Call, InferenceRequest, Unit
from gateway.splits.skews import SkewWatch
from gateway.splits.units import COUNTED, FORGET_AT, LEAST_PASSED, REMEMBERED, SETTLED, Units
from registry.catalog.snapshot import SplitArm, SplitEntry, SplitPolicy
from registry.splits.skew import SplitSkew
from registry.splits.skews import SplitSkews
from tests.support.stack import House

SPLIT = SplitEntry(7, b"salt", (), ())
BY_USER = SplitPolicy(
    experiment_id=1,
    experiment="one",
    unit="end_user",
    control=SplitArm("1.0", 10_000, 1.0, "acme/triage@1.0", "sha256:b", None),
    falls_back=False,
    keys=frozenset(),
    metadata=(),
    audience=10_000,
    holdout=(b"", 0),
    for_all=True,
)
Message = dict[str, Any]


def said(role: str, text: Any) -> Message:
    return {"role": role, "content": text}


SYSTEM = said("system", "You sort tickets.")
EXAMPLES = [
    SYSTEM,
    said("user", "My card was charged twice."),
    said("assistant", "billing"),
    said("user", "I cannot log in."),
    said("assistant", "access"),
]


async def _no_body(_held: HeldBytes) -> bytes:
    return b""


def call(header: str | None = None) -> Call:
    return Call(DIALECTS["chat"], None, header, _no_body, "r", "r")


def chat(messages: Sequence[Message], **fields: Any) -> InferenceRequest:
    raw = orjson.dumps({"model": "m", "messages": list(messages)} | fields)
    return DIALECTS["chat"].parse(raw, caps=Caps(), allow_unknown=False)


def completion(prompt: Any, **fields: Any) -> InferenceRequest:
    raw = orjson.dumps({"model": "m", "prompt": prompt} | fields)
    return DIALECTS["completions"].parse(raw, caps=Caps(), allow_unknown=False)


def of(units: Units, request: InferenceRequest, header: str | None = None) -> Unit:
    return units.of(call(header), request, SPLIT)


def turns(opening: Sequence[Message], count: int) -> list[list[Message]]:
    """The messages of each request of one conversation."""
    requests = [list(opening)]
    for number in range(1, count):
        requests.append([*requests[-1], said("assistant", f"answer {number}"), said("user", f"turn {number}")])
    return requests


@pytest.mark.parametrize("fields", [{}, {"user": "person-1"}], ids=["nobody's", "a user's"])
def test_a_first_turn_is_the_same_unit_as_a_text_and_in_parts_and_a_later_turn_goes_on_from_it(
    fields: dict[str, Any],
) -> None:
    text, parts = said("user", "Größe: 4 \0"), said("user", [{"type": "text", "text": "Größe: 4 \0"}])
    units = Units()
    unit = of(units, chat([text], **fields))
    assert of(units, chat([parts], **fields)) == unit
    for first in (text, parts):
        later = [first, said("assistant", "ok"), said("user", "and now?")]
        assert of(Units(), chat(later, **fields)) == unit


def test_the_order_is_header_conversation_id_and_what_the_request_shows() -> None:
    units = Units()
    named = {"metadata": {"conversation_id": "c-7"}}
    assert of(units, chat([SYSTEM, said("user", "Hi")], **named), "u-1") == Unit("u-1", "header")
    assert of(units, chat([SYSTEM, said("user", "Hi")], **named)) == Unit("c-7", "conversation_id")
    assert of(units, chat([SYSTEM, said("user", "Hi")], metadata={"conversation_id": ""})).source == "first_turn"
    assert of(units, completion("Once", **named)) == Unit("c-7", "conversation_id")
    assert of(units, completion("Once")).source == "prompt"


def test_an_id_that_changes_with_every_turn_names_no_unit() -> None:
    units = Units()
    found = [
        of(units, chat(messages, previous_response_id=f"resp-{number}", prompt_cache_key=f"k-{number}"))
        for number, messages in enumerate(turns([said("user", "Where is it?")], 6))
    ]
    assert len(set(found)) == 1


@pytest.mark.parametrize("examples", [EXAMPLES[:3], EXAMPLES], ids=["one example", "two examples"])
def test_examples_before_every_question_do_not_make_everybody_one_unit(examples: list[Message]) -> None:
    units = Units()
    conversations = [turns([*examples, said("user", f"ticket {number}")], 4) for number in range(200)]
    found = [[of(units, chat(messages)) for messages in conversation] for conversation in conversations]
    assert all(len(set(one)) == 1 for one in found), "a conversation stays one unit through all of its turns"
    assert len({one[0] for one in found}) >= 200 - LEAST_PASSED + 2


def test_conversations_whose_turns_come_in_turn_stay_apart_and_together() -> None:
    units = Units()
    conversations = [turns([*EXAMPLES, said("user", f"ticket {number}")], 3) for number in range(50)]
    found: dict[int, set[Unit]] = {}
    for turn in range(3):
        for number, conversation in enumerate(conversations):
            found.setdefault(number, set()).add(of(units, chat(conversation[turn])))
    assert all(len(one) == 1 for one in found.values())
    assert len(set().union(*found.values())) >= 50 - LEAST_PASSED + 2


def test_another_worker_that_has_seen_the_examples_comes_to_the_same_units() -> None:
    one, other = Units(), Units()
    for number in range(LEAST_PASSED):
        of(one, chat([*EXAMPLES, said("user", f"a {number}")]))
        of(other, chat([*EXAMPLES, said("user", f"b {number}")]))
    for conversation in (turns([*EXAMPLES, said("user", f"ticket {number}")], 4) for number in range(20)):
        workers = (one, other, one, other)
        assert len({of(worker, chat(said)) for worker, said in zip(workers, conversation, strict=True)}) == 1


@pytest.mark.parametrize(("examples", "count", "learnt_after"), [([], 8, 0), (EXAMPLES, 4, 150)], ids=["none", "two"])
def test_first_turns_that_many_have_in_common_stay_units_whichever_worker_sees_a_turn(
    examples: list[Message], count: int, learnt_after: int
) -> None:
    chance = random.Random(11)
    workers = [Units() for _ in range(count)]
    for worker in workers:
        worker.shared_by(count)
    changed = []
    for number in range(learnt_after + 150):
        conversation = turns([*examples, said("user", chance.choice(["hi", "hello", "help"]))], 5)
        found = {of(chance.choice(workers), chat(messages)) for messages in conversation}
        if len(found) > 1:
            changed.append(number)
    assert [number for number in changed if number >= learnt_after] == []
    assert len(changed) < 30


def test_examples_are_a_preamble_also_when_somebody_once_began_with_the_first_of_them() -> None:
    units = Units()
    of(units, chat(EXAMPLES[:2]))
    found = {of(units, chat([*EXAMPLES, said("user", f"ticket {number}")])) for number in range(200)}
    assert len(found) >= 200 - 2 * LEAST_PASSED


def test_without_examples_the_first_turn_is_enough_for_a_worker_that_sees_a_conversation_late() -> None:
    early, late = Units(), Units()
    for number in range(30):
        conversation = turns([SYSTEM, said("user", f"question {number}")], 5)
        assert len({of(early, chat(conversation[0])), *(of(late, chat(one)) for one in conversation[2:])}) == 1


def test_a_first_message_that_many_send_is_their_first_turn_and_no_preamble() -> None:
    units = Units()
    for _ in range(20):
        first, *later = turns([said("user", "hi")], 3)
        assert len({of(units, chat(one)) for one in (first, *later)}) == 1


def test_two_end_users_who_say_the_same_are_two_units_and_each_stays_one() -> None:
    units = Units()
    found = [
        {of(units, chat(messages, user=user)) for messages in turns([said("user", "hi")], 3)} for user in ("ann", "ben")
    ]
    assert [len(one) for one in found] == [1, 1]
    assert found[0] != found[1]
    assert of(units, completion("Once", user="ann")) != of(units, completion("Once", user="ben"))


def test_text_and_parts_of_the_same_text_are_one_unit() -> None:
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my order?"}]
    units = Units()
    assert of(units, chat([said("user", parts)])) == of(units, chat([said("user", "Where is my order?")]))


def test_of_a_completion_the_whole_prompt_counts_whatever_preamble_it_has() -> None:
    preamble = "x" * 4_000
    prompts: list[Any] = [preamble + "a", preamble + "b", [preamble + "a"], [preamble + "a", "b"], [1, 2], [[1, 2]]]
    units = Units()
    assert len({of(units, completion(prompt)) for prompt in prompts}) == len(prompts)
    assert of(units, completion(preamble + "a")) == of(units, completion(preamble + "a"))


def test_what_is_remembered_has_a_bound() -> None:
    units = Units()
    for number in range(3 * REMEMBERED):
        of(units, chat([*EXAMPLES, said("user", f"{number}"), said("assistant", "x"), said("user", "more")]))
    (traffic,) = units._splits.values()
    for remembered in (traffic.units, traffic.whole, traffic.passed):
        assert len(remembered) <= 2 * REMEMBERED
    assert len(traffic.units) >= REMEMBERED
    assert len(traffic.counts) <= COUNTED
    assert 0 < len(traffic.uncounted) < SETTLED
    units.skews()
    assert traffic.uncounted == []


def test_other_weights_keep_what_is_known_and_count_anew() -> None:
    units = Units()
    first, *_, last = turns([*EXAMPLES, said("user", "ticket")], 3)
    before = units.of(call(), chat(first), SPLIT)
    for number in range(10):
        units.of(call(), chat([*EXAMPLES, said("user", f"{number}")]), SPLIT)
    changed = replace(SPLIT, id=8)
    assert units.of(call(), chat(last), changed) == before
    assert units.skews() == [SplitSkew(8, "first_turn", 1, 1)]


def test_one_unit_with_too_much_traffic_is_found_among_many() -> None:
    units = Units()
    for number in range(2_000):
        of(units, chat([said("user", "same" if number % 10 == 0 else f"{number}")]))
    (skew,) = units.skews()
    assert skew.alarming
    assert 0.09 < skew.share <= 0.1
    assert "one unit is 10% of the last 2000 requests of split 7" in str(skew)


@pytest.mark.parametrize(
    ("header", "fields", "source", "remedy"),
    [
        ("all", {}, "header", "the same X-Switchyard-Unit"),
        (None, {"metadata": {"conversation_id": "all"}}, "conversation_id", "the same metadata.conversation_id"),
        (None, {"user": "all"}, "end_user", "the same end user"),
    ],
)
def test_a_named_unit_with_too_much_traffic_is_found_like_any_other(
    header: str | None, fields: dict[str, Any], source: str, remedy: str
) -> None:
    units, by = Units(), replace(SPLIT, policy=BY_USER if source == "end_user" else None)
    for number in range(1_000):
        named = number % 10 == 0
        units.of(call(header if named else None), chat([said("user", f"{number}")], **(fields if named else {})), by)
    (skew,) = units.skews()
    assert (skew.alarming, skew.source) == (True, source)
    assert remedy in str(skew)


def test_a_spread_or_small_traffic_alarms_nobody() -> None:
    units = Units()
    for number in range(1_000):
        of(units, chat([said("user", "same")]), f"header-{number % 50}")
        of(units, chat([said("user", f"{number}")]))
    assert not units.skews()[0].alarming
    few = Units()
    for _ in range(199):
        of(few, completion("same"))
    assert not few.skews()[0].alarming


def test_counts_are_of_the_newer_traffic() -> None:
    units = Units()
    for _ in range(300):
        of(units, completion("same"))
    for number in range(2 * FORGET_AT):
        of(units, completion(f"{number}"))
    (skew,) = units.skews()
    assert skew.requests < FORGET_AT
    assert not skew.alarming


async def test_an_alarm_is_noted_once_and_taken_back_when_it_is_over(house: House) -> None:
    units, books = Units(), house.registry.skews
    watch = SkewWatch(units, books, house.registry.workers, "worker-1")
    for _ in range(300):
        of(units, completion("same"))
    await watch.look()
    assert books.alarming(SPLIT.id) == SplitSkew(SPLIT.id, "prompt", 300, 300)
    written = Counter[str]()
    counting = SkewWatch(units, _Counting(books, written), house.registry.workers, "worker-1")
    await counting.look()
    await counting.look()
    assert written == {"note": 1}
    for number in range(2 * FORGET_AT):
        of(units, completion(f"{number}"))
    await watch.look()
    assert await asyncio.to_thread(books.alarming, SPLIT.id) is None


class _Counting(SplitSkews):
    def __init__(self, books: SplitSkews, written: Counter[str]) -> None:
        super().__init__(books._db)
        self._written = written

    def note(self, worker: str, skews: Any) -> None:
        self._written["note"] += 1
        super().note(worker, skews)
