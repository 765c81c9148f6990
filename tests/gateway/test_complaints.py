"""What goes wrong with every request fills no log."""

from __future__ import annotations

import logging

import pytest

from gateway.complaints import Complaint
from gateway.steps import meter


def test_a_complaint_is_made_at_first_and_then_once_a_second_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [100.0]
    complaint = Complaint(logging.getLogger("switchyard.test"), clock_s=lambda: now_s[0])
    for _ in range(400):
        complaint.report("usage cannot be recorded", OSError("gone"))
        now_s[0] += 0.0078125  # 128 a second
    assert [record.message for record in caplog.records] == [
        "usage cannot be recorded: gone",
        *["usage cannot be recorded: gone (and 127 times since this was said last)"] * 3,
    ]


def test_requests_that_are_refused_while_nothing_can_be_recorded_do_not_write_a_line_each(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "UNRECORDED", Complaint(meter.log, every_s=60))
    assert {meter._unrecorded(OSError("gone")).code for _ in range(50)} == {"metering_unavailable"}
    assert len(caplog.records) == 1
