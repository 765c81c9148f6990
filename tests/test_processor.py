"""The count of what a run of tests spends: no process that ends meanwhile breaks it."""

from __future__ import annotations

import subprocess
import sys

from tests.support import processor


def test_what_an_ended_process_has_spent_is_its_parents() -> None:
    before_s = processor.spent_s()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True, timeout=60)
    assert processor.spent_s() > before_s


def test_a_process_that_is_gone_has_spent_nothing_and_has_no_children() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    assert processor._spent_by(str(gone.pid)) == 0.0
    assert list(processor._children_of(str(gone.pid))) == []
