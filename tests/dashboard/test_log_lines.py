"""The dashboard's log says what clients do wrong, and lets none of them fill it."""

from __future__ import annotations

import logging

import pytest

from dashboard.log_lines import EVERY_S, Seldom


def test_a_fault_of_clients_is_told_of_once_in_a_while_with_how_many_there_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    log = logging.getLogger("test.of.the.dashboard")
    seldom = Seldom(lambda: now)
    log.addFilter(seldom)
    try:
        for _ in range(100):
            log.warning("Invalid HTTP request received.")
        log.warning("Unsupported upgrade request.")
        log.error("ours")
        log.error("ours")
        now = EVERY_S
        log.warning("Invalid HTTP request received.")
    finally:
        log.removeFilter(seldom)
    assert caplog.messages == [
        "Invalid HTTP request received.",
        "Unsupported upgrade request.",
        "ours",
        "ours",
        "Invalid HTTP request received. (99 more since the last line)",
    ]
