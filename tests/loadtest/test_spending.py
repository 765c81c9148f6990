"""Requests of every kind are drawn from a seed, and each client knows what it was told."""

from __future__ import annotations

from loadtest.spending import Mix, Purse, Spending, Wish, wishes
from tests.loadtest.mock_http import mock, running

PURSE = Purse("acme", "sk-test", ("base",))


def test_the_same_seed_draws_the_same_requests_of_every_kind() -> None:
    drawn = wishes([PURSE], 500, Mix(), seed=3)
    assert drawn == wishes([PURSE], 500, Mix(), seed=3) != wishes([PURSE], 500, Mix(), seed=4)
    bodies = [wish.body for wish in drawn]
    assert {bool(body.get("stream")) for body in bodies} == {"messages" in body for body in bodies} == {True, False}
    assert {1, 2, 3} <= {wish.answers for wish in drawn}
    assert any(wish.leave_after_events is not None for wish in drawn)
    assert any(wish.leave_after_s is not None for wish in drawn)
    assert all(wish.body.get("stream") for wish in drawn if wish.leave_after_events is not None)


async def test_clients_that_stay_have_the_final_count_and_those_that_leave_what_they_saw() -> None:
    body = {"model": "base", "prompt": "Hello there", "max_tokens": 5}
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = {**body, "stream": True, "stream_options": options}
    path = "/v1/completions"
    async with mock(token_ms=20.0) as (engine, _):
        todo = [
            Wish(PURSE, path, body),
            Wish(PURSE, path, stream),
            Wish(PURSE, path, {**stream, "max_tokens": 500}, leave_after_events=2),
            Wish(PURSE, path, {**body, "max_tokens": 500}, leave_after_s=0.05),
            Wish(PURSE, path, {**body, "model": "nobody"}),
        ]
        told: list[int] = []
        found = await Spending(engine.url, 1, told.append).run(todo)
        await running(engine, 0)
    assert told == [0, 1, 2, 3, 4]
    whole, streamed, left, hurried, refused = found
    for one in (whole, streamed):
        assert one.usage is not None
        assert (one.usage["prompt_tokens"], one.usage["completion_tokens"]) == (2, 5)
    assert (left.usage, left.seen_tokens >= 1, left.request_id is not None) == (None, True, True)
    assert (hurried.usage, hurried.status, hurried.seen_tokens) == (None, None, 0)
    assert (refused.status, refused.usage) == (404, None)
