"""The usage journal is cut short under a gateway that serves: no answer goes out without its row."""

from __future__ import annotations

from gateway.journal.segments import segments_in
from tests.support.stack import House, run_stack
from tests.support.waiting import wait_until


def test_what_is_answered_after_the_journal_was_emptied_has_its_row(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage@1.0")
        before = stack.chat("triage", max_tokens=2)
        wait_until("a row", lambda: house.usage_of(before.headers["x-request-id"]))
        (segment,) = segments_in(house.settings.state_dir / "journal")
        segment.write_bytes(b"")
        answers = [stack.chat("triage", max_tokens=2) for _ in range(20)]
        wait_until("requests to be served again", lambda: stack.chat("triage", max_tokens=2).status_code == 200)
        assert {answer.status_code for answer in answers} <= {200, 503}
        for answer in answers:
            if answer.status_code == 200:
                wait_until("a row", lambda found=answer: house.usage_of(found.headers["x-request-id"]))  # type: ignore[misc]
