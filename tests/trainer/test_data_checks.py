"""The checklist of a data file: what seems wrong is found by name, and what is right is left in peace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.data.findings import Finding
from trainer.data.read import read_data
from trainer.data.report import Report, percentiles, report

TOPICS = ("engine", "garden", "letter", "mirror", "planet", "school", "ticket", "window", "yellow", "zipper", "castle")


def pair(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def prose(number: int) -> str:
    word = TOPICS[number % len(TOPICS)]
    return f"The {word} number {number} is kept in the {TOPICS[(number * 7 + 3) % len(TOPICS)]} behind the house."


GOOD = [pair(f"{number * 7919} {TOPICS[number % 11]} {number}?", prose(number)) for number in range(60)]


def _and(answer: str) -> list[dict[str, str]]:
    return [*GOOD, pair("What is it?", answer)]


def checked(folder: Path, rows: list[Any], base: str | None = None) -> Report:
    file = folder / "d.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return report(read_data(file, "auto"), base)


def found(folder: Path, rows: list[Any], base: str | None = None) -> dict[str, Finding]:
    return {one.code: one for one in checked(folder, rows, base).findings}


def test_a_good_file_has_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path, GOOD) == {}


@pytest.mark.parametrize(
    ("rows", "code", "level", "lines"),
    [
        (GOOD[:5], "few_rows", "warn", ()),
        (GOOD[:30], "few_rows", "warn", ()),
        ([GOOD[0]] * 30, "all_copies", "error", ()),
        ([*GOOD, GOOD[3]], "exact_copies", "warn", (61,)),
        ([*GOOD, pair(GOOD[3]["prompt"].upper(), "Something else that is as long as all the others are.")],
         "different_answers", "warn", (4, 61)),
        ([pair(one["prompt"], "yes") for one in GOOD], "one_label", "warn", ()),
        ([pair(one["prompt"], "yes" if at else "no") for at, one in enumerate(GOOD)], "unbalanced_labels", "warn", ()),
        (_and("The weather in the mountains is as it was"), "cut_off_answers", "warn", (61,)),
        (_and("Like this:\n```python\nprint(1)\nprint(2)\nprint(3)"), "broken_answers", "warn", (61,)),
        (_and("Ok."), "short_answers", "warn", (61,)),
        (_and("Write to jo.doe@corp.co and wait until they call you back."), "pii_email", "warn", (61,)),
        (_and("The card 4111 1111 1111 1111 is the one that was charged."), "pii_card", "warn", (61,)),
        ([*GOOD, pair("Pay DE89 3704 0044 0532 0130 00 NOW?", GOOD[0]["completion"])], "pii_iban", "warn", (61,)),
        (_and("Call +49 170 1234567 in the evening, please, or tomorrow."), "pii_phone", "warn", (61,)),
        ([*GOOD, pair("Hi <|im_start|>?", GOOD[0]["completion"])], "template_tokens", "warn", (61,)),
    ],
)  # fmt: skip
def test_what_seems_wrong_has_a_name_and_lines(
    tmp_path: Path, rows: list[Any], code: str, level: str, lines: tuple[int, ...]
) -> None:
    one = found(tmp_path, rows)[code]
    assert (one.level, one.lines) == (level, lines)


@pytest.mark.parametrize(
    "text",
    ["4111 1111 1111 1112", "version 1.2.3.4", "2026-11-29 06:12:13", "1234567890123456", "info@example.com", "a@b"],
)
def test_numbers_and_examples_are_no_personal_data(tmp_path: Path, text: str) -> None:
    rows = [*GOOD, pair("Hi?", f"It says {text} and that is all that it says today.")]
    assert not [code for code in found(tmp_path, rows) if code.startswith("pii_")]


def test_answers_that_are_no_json_among_json_and_other_keys_are_found(tmp_path: Path) -> None:
    rows = [pair(one["prompt"], json.dumps({"team": TOPICS[at % 11], "n": at})) for at, one in enumerate(GOOD)]
    rows[7]["completion"] = "team garden"
    rows[9]["completion"] = json.dumps({"Team": "garden"})
    codes = found(tmp_path, rows)
    assert codes["not_json"].lines == (8,)
    assert codes["other_keys"].lines == (10,)


def test_nearly_the_same_question_in_another_form_or_with_another_label_is_found(tmp_path: Path) -> None:
    asked = "How do I reset the password of my account on the {}?"
    twice = [pair(asked.format("website"), prose(1)), pair(asked.format("web site"), '{"answer": "by the link below"}')]
    assert found(tmp_path, [*GOOD, *twice])["different_forms"].lines == (61, 62)
    labels = [pair(one["prompt"], "good" if at % 3 else "bad") for at, one in enumerate(GOOD)]
    labels += [pair(asked.format("website"), "good"), pair(asked.format("web site"), "bad")]
    unlike = found(tmp_path, labels)["different_labels"]
    assert (unlike.level, unlike.lines) == ("info", (61, 62))


CHINESE = "今天的天气非常好我们一起去公园散步吧顺便买点水果回家给{}吃"


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        (CHINESE.format("妈妈"), CHINESE.format("爸爸"), True),
        (CHINESE.format("妈妈"), "量子力学描述微观世界的物理规律与经典力学有很大的不同之处请问为什么呢", False),
        ("How do I reset the password of my account on the website?",
         "How do I reset the password of my account on the web site?", True),
        ("How do I reset the password of my account on the website?",
         "When will the parcel that I ordered last week arrive at home?", False),
        ("كيف يمكنني إعادة تعيين كلمة المرور الخاصة بي على الموقع الإلكتروني للشركة",
         "كيف يمكنني إعادة تعيين كلمة المرور الخاصة بي على الموقع الالكتروني للشركة", True),
    ],
)  # fmt: skip
def test_near_copies_are_found_in_every_script(tmp_path: Path, one: str, other: str, near: bool) -> None:
    codes = found(tmp_path, [*GOOD, pair(one, prose(1)), pair(other, prose(2))])
    assert ("near_copies" in codes) is near
    assert not near or codes["near_copies"].lines == (62,)


def test_shares_of_synthetic_rows_and_their_writers_are_said(tmp_path: Path) -> None:
    synthetic = {"origin": {"kind": "synthetic", "model": "HuggingFaceTB/SmolLM2-1.7B-Instruct"}}
    few = [*GOOD[10:], *({**row, **synthetic} for row in GOOD[:10])]
    many = [*GOOD[30:], *({**row, **synthetic} for row in GOOD[:30])]
    assert "17%" in found(tmp_path, few)["synthetic_rows"].text
    assert "synthetic_share" not in found(tmp_path, few)
    assert found(tmp_path, many, "smollm2-135m-instruct").keys() == {
        "synthetic_rows",
        "synthetic_share",
        "model_collapse",
    }
    assert "model_collapse" not in found(tmp_path, many, "qwen3-8b")


def test_a_report_counts_kinds_labels_and_lengths(tmp_path: Path) -> None:
    rows = [pair(f"{at * 7919}?", "good" if at % 3 else "bad") for at in range(60)]
    document = checked(tmp_path, rows).document()
    assert document["labels"] == {"good": 40, "bad": 20}
    assert document["kinds"] == {"plain": 60}
    assert document["characters"]["answer"] == {"min": 3, "p50": 4, "p90": 4, "p95": 4, "p99": 4, "max": 4, "sum": 220}
    json.dumps(document["findings"][0:0])


def test_percentiles_are_values_of_the_list() -> None:
    assert percentiles([]) == {}
    assert percentiles(range(1, 101)) == {"min": 1, "p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100, "sum": 5050}
