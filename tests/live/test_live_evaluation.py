"""The sample adapter against its base, through the gateway, on the real engine."""

from __future__ import annotations

import json
from pathlib import Path

from registry.names import parse_ref
from registry.service import Registry
from tests.live.installation import ROOT, Live

TRIAGE = "acme/triage@1.0"


def test_the_sample_adapter_is_better_than_its_base_and_has_a_certificate_of_it(live: Live) -> None:
    rows = ("--data", str(ROOT / "examples" / "triage" / "heldout.jsonl"), "--rows", "8", "--max-tokens", "20")
    metrics = ("--metric", "json_exact", "--metric", "loss")
    done = live.switchyard("evaluate", TRIAGE, "--against", "base", *rows, *metrics, "--url", live.url, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    items = {item["metric"]: item for item in found["items"]}
    assert items["json_exact"]["word"] == "better"
    assert items["loss"]["candidate"] < items["loss"]["incumbent"]
    assert items["loss"]["word"] == "too_few_units", "of eight conversations there is no interval"
    assert found["incumbent"]["model"] == live.base_name
    assert 0 < found["latency"]["candidate"]["median_s"] < 60
    with Registry.open(live.registry_settings()) as registry:
        (certificate,) = registry.gates.certificates(parse_ref(TRIAGE))
    assert (certificate.digest, certificate.verdict) == (found["certificate"]["digest"], "measured")


def test_a_small_model_as_a_judge_is_held_to_a_verdict_that_can_be_read(live: Live, tmp_path: Path) -> None:
    prompts = ("--prompts", str(ROOT / "examples" / "triage" / "heldout.jsonl"), "--rows", "2", "--max-tokens", "20")
    where = ("--run", str(tmp_path / "run.jsonl"), "--url", live.url, "--json")
    asked = ("experiments", "compare", "base", TRIAGE, *prompts, "--judge", live.base_name, *where)
    done = live.switchyard(*asked)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["pairs"], found["judging"]["unreadable"]) == (2, 0)
    assert {item["metric"] for item in found["items"]} == {"label_exact", "rouge_l", "json_exact", "preference"}
    assert found["costs"]["b"]["tokens"] > 0
    again = json.loads(live.switchyard(*asked).stdout)
    assert (again["judge_spent"]["requests"], again["counts"]) == (0, found["counts"])
