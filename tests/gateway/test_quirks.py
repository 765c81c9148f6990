"""The table of engine defects: which versions have which, and what the fleet is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.engines.vllm.quirks import DEFECTS, quirks_of


def names(version: str, platform: Any) -> set[str]:
    return {defect.name for defect in quirks_of(version, platform).defects}


@pytest.mark.parametrize(
    ("version", "platform", "zero", "refused"),
    [
        ("0.30.2", "gpu", False, True),
        ("0.31.0", "cpu", True, False),
        ("0.32.0", "cpu", True, False),
        ("0.32.0", "gpu", False, False),
        ("0.33.0.dev12+g1234", "cpu", True, False),
        ("0.33.0rc1", "cpu", True, False),
        ("0.33.0", "cpu", False, False),
        ("0.33.1", "cpu", False, False),
        ("1.0", "cpu", False, False),
        ("dev", "cpu", False, False),
    ],
)
def test_each_version_of_the_engine_gets_the_cure_it_needs(
    version: str, platform: Any, zero: bool, refused: bool
) -> None:
    quirks = quirks_of(version, platform)
    assert (quirks.base_needs_zero_adapter, quirks.refused is not None) == (zero, refused)


def test_a_refused_engine_is_told_why_and_what_to_use() -> None:
    refused = quirks_of("0.24.0", "gpu").refused
    assert refused is not None
    assert "another adapter's weights" in refused
    assert refused.endswith("Use 0.32 or newer")


def test_what_was_fixed_is_gone_and_what_was_not_stays() -> None:
    assert "in-place-load-reads-the-disk-every-step" in names("0.32.0", "gpu") - names("0.33.0", "gpu")
    assert {"name-reuse-kills-the-engine", "missing-file-kills-the-engine"} <= names("0.33.0", "gpu")


def test_the_cpu_engine_has_defects_of_its_own() -> None:
    own = names("0.32.0", "cpu") - names("0.32.0", "gpu")
    assert own == {"base-gets-an-adapter-in-mixed-batches", "prompt-logprobs-kills-the-engine"}


def test_every_row_says_what_happens_and_what_we_do_in_words_that_a_stranger_knows() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    for defect in DEFECTS:
        assert defect.effect, defect.name
        assert defect.cure, defect.name
        assert defect.upstream is None or "vllm#" in defect.upstream, defect.name
        assert "§" not in f"{defect.effect} {defect.cure} {defect.upstream}", defect.name
