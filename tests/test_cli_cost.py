"""`switchyard cost report` and `statement`: what they show to people and scripts, and what they refuse."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from registry.prices.baseline_writing import Facts
from registry.service import Registry
from registry.settings import RegistrySettings
from switchyard.cost_tables import short
from tests.support.adapter_folders import TinyBase
from tests.support.cli_runner import Outcome, Run, done, run
from tests.support.cost_parts import add_baseline, add_engines, add_traffic

__all__ = ["done", "run"]

WINDOW = ("--from", "2026-06-01", "--until", "2026-06-04", "--baseline", "an-api")


@pytest.fixture
def traffic(run: Run, tmp_path: Path) -> None:
    """Three days that are over."""
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        folder = TinyBase().write(tmp_path / "tiny")
        (folder / "tokenizer.json").write_text(_words())
        registry.bases.register("tiny", folder)
        for tenant in ("acme", "globex"):
            registry.tenants.create(tenant)
        add_engines(registry)
        add_baseline(registry)
        add_traffic(registry)


@pytest.mark.usefixtures("traffic")
def test_a_newcomer_reads_tables_and_sentences(done: Run) -> None:
    said = done("cost", "report", *WINDOW).out
    assert said.startswith("2026-06-01 00:00 to 2026-06-04 00:00 UTC, by tenant\n\n")
    heading, acme, *rest = (line.split() for line in said.splitlines()[2:])
    assert heading == ["TENANT", "REQUESTS", "TOKENS", "TARIFF", "ENGINES", "AN-API", "SAVED"]
    assert acme == ["acme", "5", "5,401", "$0.0060", "$0.0039", "$0.0066", "$0.0027"]
    assert rest[4][:6] == ["total", "8", "8,701", "$0.0060", "$288.00", "$0.0080"]
    assert rest[6] == [
        "ENGINE",
        "COST",
        "MARGINAL",
        "BUSY",
        "LOADED",
        "MARGIN",
        "FAILED",
        "UNPRICED",
        "UNSETTLED",
        "UNCOSTED",
    ]
    assert rest[7] == ["acme", "–", "$0.0039", "$0.0039", "$0.0021", "2", "0", "1", "0"]
    assert "At an-api's list price the same tokens would have cost $0.0080 (assumed); you paid $288.00: staying" in said
    assert done("cost", "report").out.count("Nothing was used") == 0


def test_nothing_yet_is_said(done: Run) -> None:
    assert done("cost", "report").out.splitlines()[-1] == "Nothing was used in this window."


@pytest.mark.usefixtures("traffic")
def test_scripts_get_one_document_or_csv(done: Run) -> None:
    document = done("cost", "report", *WINDOW, "--by", "key", "--json", "--explain").document
    assert [line["name"] for line in document["lines"] if line["kind"] == "tenant"] == ["key-1", "key-2"]
    assert any(one["figure"] == "baselines.an-api.cost_dollars" for one in document["explain"])
    first = next(csv.DictReader(io.StringIO(done("cost", "report", *WINDOW, "--csv").out)))
    assert (first["name"], first["an-api cost_dollars"]) == ("acme", "0.006604")
    dearest = done("cost", "report", *WINDOW, "--order", "cost", "--json").document["lines"]
    costs = [float(line["engine_cost"]["loaded_dollars"]) for line in dearest if line["kind"] == "tenant"]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.usefixtures("traffic")
def test_every_number_is_opened_for_people_too(done: Run) -> None:
    said = done("cost", "report", *WINDOW, "--explain").out
    assert "acme: baselines.an-api.cost_dollars = 0.006604" in said
    assert "((5000 - 2000) · $1 + 2000 · $1 + 401 · $4) / 1,000,000 = $0.006604" in said
    assert "  SELECT sum(usage_days.attempts) AS attempts" in said
    assert "Prompt cache: it has as much of every prompt as our engines' own cache had." in said


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("by", ["tenant", "day"])
@pytest.mark.parametrize(("name", "begins"), [("costs.png", b"\x89PNG"), ("costs.svg", b"<?xml")])
def test_a_picture_is_drawn(done: Run, tmp_path: Path, by: str, name: str, begins: bytes) -> None:
    done("cost", "report", *WINDOW, "--by", by, "--plot", tmp_path / name)
    drawn = (tmp_path / name).read_bytes()
    assert drawn.startswith(begins)
    if name.endswith("svg"):
        assert b"at an-api" in drawn
        done("cost", "report", *WINDOW, "--by", by, "--plot", tmp_path / name)
        assert (tmp_path / name).read_bytes() == drawn, "the same figures give the same bytes"


@pytest.mark.usefixtures("traffic")
def test_focus_rows_and_a_statement_go_into_files(done: Run, tmp_path: Path) -> None:
    done("cost", "report", *WINDOW, "--focus", tmp_path / "focus.csv")
    assert (tmp_path / "focus.csv").read_text().startswith("AllocatedMethodDetails,")
    said = done("cost", "statement", "acme", "--month", "2026-06", "--html", tmp_path / "acme.html", *WINDOW[4:]).out
    assert said.startswith("statement for acme, 2026-06\n")
    assert "total            5         5,000   2,000   401         $0.0060" in said
    assert "Statement for acme, 2026-06" in (tmp_path / "acme.html").read_text()
    document = done("cost", "statement", "acme", "--month", "2026-06", "--json").document
    assert (document["charged_dollars"], document["total"]["engine_cost"]) == ("0.006000507", None)


@pytest.mark.usefixtures("traffic")
def test_tokens_are_counted_again_where_the_baselines_tokenizer_is_installed(done: Run, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.save(str(tmp_path / "letters.json"))
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.baselines.say("an-api", Facts(tokenizer=str(tmp_path / "letters.json")), source="a test")
    sample = tmp_path / "sample.jsonl"
    sample.write_text("\n".join(json.dumps({"prompt": "ab cd", "completion": "abcd"}) for _ in range(40)))
    counted = done("cost", "report", *WINDOW, "--sample", sample, "--json")
    (ratio,) = counted.document["baselines"][0]["token_ratios"]
    assert (ratio["label"], ratio["prompt"], ratio["completion"]) == ("measured", 2.5, 4.0)
    assert counted.document["lines"][0]["baselines"]["an-api"]["label"] == "measured"
    assert counted.document["lines"][0]["baselines"]["an-api"]["cost_dollars"] == "0.018916"


def _words() -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return str(words.to_str())


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "--by", "moon"), "--by is 'moon'; choose one of tenant"),
        (("report", "--order", "luck"), "--order is 'luck'; expected one of name, cost"),
        (("report", "--json", "--csv"), "--json and --csv are both given"),
        (("report", "--cached-share", "7"), "--cached-share is '7'; expected a share from 0 to 1"),
        (("report", "--plot", "costs.txt"), "--plot is 'costs.txt'; name a file that ends with .png or .svg"),
        (
            ("report", "--price-version", "p1-00000000"),
            "--price-version is 'p1-00000000', which this price log never had",
        ),
        (("report", "--tenant", "nobody"), "nobody"),
        (("report", "--sample", "no-such-file"), "--sample is 'no-such-file', which cannot be read"),
        (("report", "--idle", "mine"), "--idle is 'mine'; choose one of unallocated"),
        (("statement", "acme", "--month", "June"), "--month is 'June'; expected YYYY-MM"),
        (("statement", "nobody", "--month", "2026-06"), "nobody"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(run: Run, arguments: tuple[str, ...], said: str) -> None:
    outcome: Outcome = run("cost", *arguments)
    assert (outcome.status, said in outcome.err) == (1, True), outcome.err
    said_of_it = [
        line for line in outcome.err.splitlines() if not line.startswith("warning: prices of")
    ]  # they grow old
    assert len(said_of_it) == 1


def test_big_numbers_are_shown_short() -> None:
    assert [short(one) for one in (0, 999, 9_999, 10_000, 12_345_678, 999_999, 2 * 10**12, 5 * 10**15)] == [
        "0",
        "999",
        "9,999",
        "10.0k",
        "12.3M",
        "1,000k",
        "2.00T",
        "5,000T",
    ]
