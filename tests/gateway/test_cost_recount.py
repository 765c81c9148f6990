"""Tokens counted again: a ratio with its interval, from texts, and only where a tokenizer is there to count them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gateway.cost.recount import FEWEST, Sampled, recounted
from registry.errors import InvalidInput
from switchyard.cost_sample import MOST_TEXTS, count_of, read_sample

SAMPLE = [Sampled("ab cd " * (1 + at % 3), "yes no") for at in range(40)]


def words(text: str) -> int:
    return len(text.split())


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def letters(text: str) -> int:
    return len(text.replace(" ", ""))


def test_the_ratio_is_of_sums_and_its_interval_says_how_sure_it_is() -> None:
    exact = recounted(SAMPLE, words, letters, "letters", "rows.jsonl")
    assert exact is not None
    assert (exact.prompt, exact.completion, exact.label) == (Fraction(2), Fraction(5, 2), "measured")
    assert exact.prompt_interval == (Fraction(2), Fraction(2)), "every text has the same ratio"
    mixed = [*SAMPLE, *(Sampled("a", "b") for _ in range(40))]
    wide = recounted(mixed, words, letters, "letters", "rows.jsonl")
    assert wide is not None
    assert wide.prompt_interval is not None
    low, high = wide.prompt_interval
    assert low < wide.prompt < high
    assert "counted with its own tokenizer letters on 80 texts of rows.jsonl: 1.798 of its tokens" in wide.why


def test_few_texts_have_no_interval_and_none_have_no_ratio() -> None:
    few = recounted(SAMPLE[: FEWEST - 1], words, letters, "letters", "x")
    assert few is not None
    assert few.prompt == 2
    assert few.prompt_interval is None
    assert recounted([], words, letters, "letters", "x") is None
    assert recounted([Sampled("", "")], words, letters, "letters", "x") is None
    alone = recounted([Sampled("ab", "")], words, letters, "letters", "x")
    assert alone is not None
    assert alone.completion == alone.prompt == 2, "a side without texts has the other's"


def test_a_sample_is_rows_of_training_data_or_a_text_a_line(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "in parts"}]
    rows = [
        {"messages": [message("system", "be"), message("user", parts), message("assistant", "ok")]},
        {"messages": [message("user", "alone")]},
        {"prompt": "p", "completion": "c"},
        {"text": "t"},
        {"prompt": 7},
    ]
    file = tmp_path / "sample.jsonl"
    file.write_text("\n".join([*map(json.dumps, rows), "", "a plain line", '"quoted"']))
    assert list(read_sample(file)) == [
        Sampled("be\nin parts", "ok"),
        Sampled("alone", ""),
        Sampled("p", "c"),
        Sampled("t", ""),
        Sampled("", ""),
        Sampled("a plain line", ""),
        Sampled('"quoted"', ""),
    ]
    file.write_text("x\n" * (MOST_TEXTS + 5))
    assert len(list(read_sample(file))) == MOST_TEXTS
    file.write_bytes(b"\xff\xfe")
    for bad in (file, tmp_path / "no-such-file"):
        with pytest.raises(InvalidInput, match=r"sample is .* cannot be read"):
            list(read_sample(bad))


def test_a_tokenizer_is_a_file_or_an_encoding_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    count, _ = count_of(str(file))
    assert count is not None
    assert count("a b a x") == 4
    assert count_of(None) == (None, "its tokenizer is not known (`switchyard cost baselines say`)")
    (tmp_path / "bad.json").write_text("{}")
    for name in (str(tmp_path / "bad.json"), "no-such-encoding"):
        nothing, why = count_of(name)
        assert nothing is None
        assert "tokenizer" in why
