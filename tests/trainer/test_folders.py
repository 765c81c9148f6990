from __future__ import annotations

from pathlib import Path

from trainer.folders import end_of


def test_of_a_log_of_any_length_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + "é the end".encode())
    assert end_of(log, 9) == "\N{REPLACEMENT CHARACTER} the end"
    log.write_bytes(b"all of it")
    assert end_of(log, 1_000) == "all of it"
