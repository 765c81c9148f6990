"""What a client's tracing says reaches the engine, if it follows W3C's grammar; what does not is left out."""

from __future__ import annotations

import pytest

from gateway.api.trace import MOST_MEMBERS, trace_lines
from tests.support.stack import CHAT, MESSAGES, Stack

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
BODY = {"model": "triage", "messages": MESSAGES, "max_tokens": 1}


def lines(parent: str, *states: str) -> bytes:
    return trace_lines([parent.encode()], [state.encode() for state in states])


def state_of(*states: str) -> str:
    return lines(PARENT, *states).decode().partition("tracestate: ")[2].rstrip("\r\n")


@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_is_told_of_the_clients_trace(stack: Stack, stream: bool) -> None:
    headers = {"traceparent": PARENT, "tracestate": STATE}
    assert stack.post(CHAT, {**BODY, "stream": stream}, headers=headers).status_code == 200
    assert stack.state()["trace"] == [PARENT, STATE]
    assert stack.post(CHAT, {**BODY, "stream": stream}).status_code == 200
    assert stack.state()["trace"] == [None, None]


def test_a_trace_that_cannot_be_understood_is_left_out_and_the_request_is_served(stack: Stack) -> None:
    for headers in ({"traceparent": "garbage", "tracestate": STATE}, {"tracestate": STATE}):
        assert stack.post(CHAT, BODY, headers=headers).status_code == 200
        assert stack.state()["trace"] == [None, None]
    assert stack.post(CHAT, BODY, headers={"traceparent": PARENT, "tracestate": "=,"}).status_code == 200
    assert stack.state()["trace"] == [PARENT, None]


@pytest.mark.parametrize("parent", [PARENT, PARENT.replace("00-", "cc-", 1), PARENT.replace("00-", "01-", 1) + "-more"])
def test_what_follows_the_grammar_is_passed_on_as_it_came(parent: str) -> None:
    assert lines(parent) == f"traceparent: {parent}\r\n".encode()


@pytest.mark.parametrize(
    "parent",
    [
        "", PARENT.upper(), PARENT + "-more", PARENT[:-1], PARENT + "0", "ff" + PARENT[2:], PARENT.replace("-", "_"),
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        PARENT + "\r\nx-evil: 1", PARENT.replace("00-", "01-", 1) + "-", PARENT.replace("00-", "01-", 1) + "-\x7f",
    ],
)  # fmt: skip
def test_another_parent_is_none_and_takes_its_state_with_it(parent: str) -> None:
    assert lines(parent, STATE) == b""


def test_two_parents_are_none() -> None:
    assert trace_lines([PARENT.encode()] * 2, [STATE.encode()]) == b""


def test_states_of_several_headers_are_one_list_without_empty_members() -> None:
    assert state_of("a=1, b=2", "", "c@d=3 4 ,,") == "a=1,b=2,c@d=3 4"


@pytest.mark.parametrize(
    "state", ["a", "=1", "A=1", "a=", "a=1,a=2", "a=\xff", "a=1=2", "a=b\tc", "1=a", "a=1;x", ",".join("ab")]
)
def test_a_state_of_another_grammar_is_left_out(state: str) -> None:
    good = state == "a=1;x"  # a semicolon may stand in a value
    assert state_of(state) == (state if good else "")


def test_a_state_has_so_many_members_and_bytes_at_most() -> None:
    many = [f"k{number}=v" for number in range(MOST_MEMBERS + 1)]
    assert state_of(",".join(many[:-1])) == ",".join(many[:-1])
    assert state_of(",".join(many)) == ""
    assert state_of(",".join(f"k{number}={'v' * 250}" for number in range(9))) == ""
