"""The stored fingerprint of a base model: read, refused, and kept with the base's row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.bases.fingerprint import Fingerprint, FingerprintProbe, Question, read_fingerprint, write_fingerprint
from registry.errors import InvalidInput
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import VOCAB, TinyBase

KNOWN = Fingerprint((FingerprintProbe((3, 5, 7, 11), (1, 3), (-2.0, -0.5)), FingerprintProbe((1, 2), (1,), (-4.0,))))


def test_a_fingerprint_is_read_back_as_it_was_written_and_asks_one_token_at_a_time(tmp_path: Path) -> None:
    write_fingerprint(KNOWN, tmp_path)
    assert read_fingerprint(tmp_path, VOCAB) == KNOWN
    assert KNOWN.questions() == [
        Question((3,), 5, -2.0),
        Question((3, 5, 7), 11, -0.5),
        Question((1,), 2, -4.0),
    ]


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert read_fingerprint(tmp_path, VOCAB) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format is 2"),
        ({"probes": []}, "0 probes"),
        ({"probes": [{"token_ids": [1], "positions": [1], "logprobs": [-1]}]}, "a probe of 1 tokens"),
        ({"probes": [{"token_ids": [1, -2], "positions": [1], "logprobs": [-1]}]}, "none negative"),
        ({"probes": [{"token_ids": [1, 2], "positions": [1], "logprobs": []}]}, "1 positions and 0"),
        ({"probes": [{"token_ids": [1, 2], "positions": [2], "logprobs": [-1]}]}, "do not fit 2 tokens"),
        ({"probes": [{"token_ids": [1, 2], "positions": [1], "logprobs": [float("nan")]}]}, "not finite"),
        ({"probes": [{"token_ids": [1, VOCAB], "positions": [1], "logprobs": [-1]}]}, f"vocabulary of {VOCAB}"),
        ({"probes": [{}]}, "token_ids"),
    ],
)
def test_one_that_cannot_be_asked_is_refused_with_the_remedy(tmp_path: Path, change: Any, says: str) -> None:
    (tmp_path / "fingerprint.json").write_text(json.dumps({**KNOWN.to_json(), **change}))
    with pytest.raises(InvalidInput, match=says) as refused:
        read_fingerprint(tmp_path, VOCAB)
    assert "switchyard base prepare" in refused.value.message


def test_a_base_is_registered_with_its_fingerprint_and_its_digest_does_not_know_it(tmp_path: Path) -> None:
    folder = TinyBase().write(tmp_path / "tiny")
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        without = registry.bases.register("tiny", folder)
        assert without.fingerprint is None
        write_fingerprint(KNOWN, folder)
        assert registry.bases.adopt(folder).fingerprint == KNOWN
        found = registry.bases.get("tiny")
        assert (found.fingerprint, found.digest, found.spec) == (KNOWN, without.digest, without.spec)
        revision = registry.db.catalog_revision()
        registry.bases.adopt(folder)
        assert registry.db.catalog_revision() == revision


def test_a_new_measurement_replaces_the_old_one_when_the_base_is_registered_again(tmp_path: Path) -> None:
    folder = TinyBase().write(tmp_path / "tiny")
    write_fingerprint(KNOWN, folder)
    newer = Fingerprint(KNOWN.probes[:1])
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.bases.register("tiny", folder)
        write_fingerprint(newer, folder)
        assert registry.bases.register("tiny", folder).fingerprint == newer
        assert [base.fingerprint for base in registry.bases.all()] == [newer]
