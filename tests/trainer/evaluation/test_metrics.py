from __future__ import annotations

from trainer.evaluation.metrics import json_exact, label_exact


def test_json_exact_compares_values_not_text() -> None:
    assert json_exact(' {"b": 2, "a": 1}\n', '{"a":1,"b":2}')
    assert not json_exact('{"a":1}', '{"a":1,"b":2}')
    assert not json_exact('{"a":1} and more', '{"a":1}')
    assert not json_exact("", '{"a":1}')
    assert not json_exact("[" * 100_000, '{"a":1}')


def test_label_exact_ignores_outer_blanks_only() -> None:
    assert label_exact(" heron\n", "heron")
    assert not label_exact("herons", "heron")
    assert not label_exact("Heron", "heron")
