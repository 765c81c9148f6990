"""Whatever a person gets wrong is one sentence on stderr and exit status 1, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from switchyard.typed import as_typed
from tests.support.adapter_folders import write_adapter
from tests.support.cli_runner import Run, done, run, tiny_base

__all__ = ["done", "run", "tiny_base"]

ROOT = Path(__file__).parents[1]
DATED = ("--from", "2026-01-01", "--source", "list")
PRICE = ("cost", "baselines", "add-price", "gpt", "--output", "1")

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a worker without its socket": (("worker", "--fd", "999999"), "--fd is 999999, and no socket to accept from"),
    "bad name": (("tenants", "create", "Acme Inc"), "tenant is 'Acme Inc'; a name has 1 to 63 characters"),
    "taken name": (("tenants", "create", "acme"), "tenant 'acme' exists already"),
    "unknown tenant": (("keys", "create", "nobody"), "switchyard tenants create nobody"),
    "unknown tenant's adapters": (("adapters", "list", "nobody"), "there is no tenant 'nobody'"),
    "unknown key": (("keys", "revoke", "key-0"), "there is no key 'key-0'"),
    "unknown scope": (("keys", "create", "acme", "--scope", "root"), "choose from inference, base"),
    "no tenant in the name": (("adapters", "show", "triage"), "'triage' names no tenant; write tenant/adapter"),
    "missing adapter": (("adapters", "show", "acme/nothing"), "there is no adapter 'acme/nothing'"),
    "missing version": (("adapters", "promote", "acme/triage@7.0"), "there is no acme/triage@7.0"),
    "no alias yet": (("adapters", "show", "acme/triage"), "there is no acme/triage@production"),
    "promote without a version": (("adapters", "promote", "acme/triage"), "write acme/triage@1.1"),
    "rollback with an alias": (
        ("adapters", "rollback", "acme/triage@canary"),
        "the alias, if one is meant, as --alias",
    ),
    "rollback of nothing": (("adapters", "rollback", "acme/triage"), "no earlier version to go back to"),
    "weights without percents": (("adapters", "split", "acme/triage", "1.0"), "expected VERSION=PERCENT"),
    "weights that are no number": (("adapters", "split", "acme/triage", "1.0=lots"), "weight is '1.0=lots'"),
    "all weight to one version": (
        ("adapters", "split", "acme/triage", "1.1=100"),
        "`switchyard adapters promote acme/triage@1.1`",
    ),
    "a version twice": (("adapters", "split", "acme/triage", "1.1=10", "1.1=90"), "1.1 is given twice"),
    "endless weights": (("adapters", "split", "acme/triage", "1.0=inf", "1.1=0"), "weight is '1.0=inf'"),
    "a share that is no number": (
        ("experiments", "shadow", "acme/triage", "1.1", "--share", "nan"),
        "--share is nan; expected a finite number",
    ),
    "an effect without end": (
        ("experiments", "simulate", "acme/triage", "1.1", "--effect", "inf"),
        "--effect is inf; expected a finite number",
    ),
    "a number that no database holds": (
        ("experiments", "pairs", "99999999999999999999"),
        "is 99999999999999999999; expected a number from",
    ),
    "a place in a list that no database holds": (
        ("feedback", "export", "acme/triage", "--after", "99999999999999999999"),
        "--after is 99999999999999999999; expected a number from",
    ),
    "weights that do not sum": (
        ("adapters", "split", "acme/triage", "1.0=50", "1.1=49"),
        "1.0 50 %, 1.1 49 %, 99 % together",
    ),
    "no weights": (("adapters", "split", "acme/triage"), "at least two versions"),
    "end of no split": (("adapters", "split", "acme/triage", "--end"), "is not split"),
    "publish under a version": (("adapters", "publish", "acme/x@1.0", ".", "--base", "tiny"), "write tenant/adapter"),
    "unknown base": (("adapters", "publish", "acme/x", ".", "--base", "none"), "there is no base model 'none'"),
    "missing source": (("adapters", "import", "./gone", "--to", "acme/x", "--base", "tiny"), "source is './gone'"),
    "no repository": (("adapters", "import", "a b/c", "--to", "acme/x", "--base", "tiny"), "source is 'a b/c'"),
    "another tenant's adapter": (("tenants", "map", "acme", "gpt", "globex/x"), "belongs to tenant 'globex'"),
    "unmapped name": (("tenants", "unmap", "acme", "gpt"), "no mapping for 'gpt'"),
    "bad date": ((*PRICE, "--input", "1", "--from", "1.1.2026", "--source", "list"), "--from is '1.1.2026'; expected"),
    "bad money": ((*PRICE, "--input", "1,50", *DATED), "--input is '1,50'; expected dollars such as 0.30"),
    "far too much money": ((*PRICE, "--input", "1e30", *DATED), "--input is '1e30'"),
    "no money": ((*PRICE, "--input", "1", "--cached-input", "", *DATED), "--cached-input is ''; expected dollars"),
    "no label": (("keys", "create", "acme", "--label", "x" * 101), "--label "),
    "unknown sum": (("usage", "--by", "week"), "--by is 'week'; choose one of tenant"),
    "no correction": (("ledger", "correct", "x", "--reason", " ", "--prompt", "1"), "--reason is empty"),
    "usage since when": (("usage", "--from", "May"), "--from is 'May'; expected YYYY-MM-DD"),
}
LIMITS = ("limits", "set", "tenant:acme")
OPTIONS = {
    "--requests-per-minute": "-1",
    "--tokens-per-minute": "-2",
    "--concurrency": "-3",
    "--daily-dollars": "much",
    "--monthly-dollars": "-1",
    "--daily-tokens": "-5",
    "--monthly-tokens": str(2**63),
    "--warn-at": "0",
}


@pytest.fixture
def shop(done: Run, tiny_base: str, tmp_path: Path) -> None:
    """acme/triage@1.0, not promoted."""
    done("tenants", "create", "acme")
    done("adapters", "publish", "acme/triage", write_adapter(tmp_path / "adapter"), "--base", tiny_base)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_sentence_and_exit_status_1(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    outcome = run(*arguments)
    assert outcome.status == 1
    assert sentence in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("option", OPTIONS)
def test_a_refused_limit_is_named_as_it_is_typed(run: Run, option: str) -> None:
    said = run(*LIMITS, option, OPTIONS[option]).err
    value = repr(OPTIONS[option]) if "dollars" in option else OPTIONS[option]
    assert said.startswith(f"error: {option} is {value}; expected ")
    assert "_" not in said


@pytest.mark.usefixtures("shop")
def test_the_limits_to_choose_from_are_named_as_they_are_typed(run: Run) -> None:
    listed = run(*LIMITS).err.removeprefix("error: no limit is named; choose from ").strip().split(", ")
    assert listed == list(OPTIONS)
    listed = run("limits", "clear", "tenant:acme", "speed").err.rpartition("choose from ")[2].strip().split(", ")
    assert listed == [option.removeprefix("--") for option in OPTIONS]
    assert run(*LIMITS, "--warn-at", "50").err.startswith("error: --warn-at is 50 and tenant:acme has no budget")


def test_what_somebody_typed_is_never_taken_for_a_field() -> None:
    options = {"daily_tokens": "--daily-tokens", "reason": "--reason"}
    kept = ("'daily_tokens' is no limit", "var/daily_tokens is full", "no reason is known", "my-daily_tokens", "reason")
    assert [as_typed(text, options) for text in kept] == list(kept)
    assert as_typed("daily_tokens is 1, or daily_tokens, daily_tokens.", options) == (
        "--daily-tokens is 1, or --daily-tokens, --daily-tokens."
    )


@pytest.mark.usefixtures("shop")
def test_a_price_of_a_date_is_given_once(run: Run) -> None:
    assert run(*PRICE, "--input", "1", *DATED).status == 0
    again = run(*PRICE, "--input", "2", *DATED)
    assert (again.status, again.out) == (1, "")
    assert "prices are not edited" in again.err


@pytest.mark.usefixtures("shop")
def test_a_refused_adapter_lists_every_finding_on_a_line(run: Run, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "broken", config={"use_dora": True, "r": 4096, "bias": "all"})
    outcome = run("adapters", "publish", "acme/triage", folder, "--base", "tiny")
    first, *findings = outcome.err.splitlines()
    assert outcome.status == 1
    assert first == "adapter refused:"
    assert len(findings) >= 3
    assert all(line.startswith("  [") and "expected" in line for line in findings)


@pytest.mark.starts_anew
@pytest.mark.usefixtures("shop")
def test_the_hub_without_a_network_is_one_sentence(run: Run) -> None:
    process = hub_import_in_a_new_process()
    assert process.returncode == 1
    assert process.stderr.startswith("error: could not fetch 'org/name' from the hub: ")
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""


def hub_import_in_a_new_process() -> subprocess.CompletedProcess[str]:
    """The hub's client reads HF_HUB_OFFLINE when it is imported."""
    command = ["adapters", "import", "org/name", "--to", "acme/x", "--base", "tiny"]
    return subprocess.run(
        [sys.executable, "-m", "switchyard", *command], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SWITCHYARD_MAX_LORA_RANK", "many", "SWITCHYARD_MAX_LORA_RANK is 'many'"),
        ("SWITCHYARD_DATABASE_URL", "nonsense", "database_url cannot be used"),
        ("SWITCHYARD_DATABASE_URL", "sqlite:////dev/null/registry.db", "/dev/null is no folder and cannot be made one"),
        ("SWITCHYARD_BLOB_URL", "gopher://x", "blob_url is 'gopher://x'"),
        ("SWITCHYARD_STATE_DIR", "/dev/null/state", "state_dir is '/dev/null/state'"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    outcome = run("keys", "list")
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_wrong_list_and_a_broken_settings_file_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SWITCHYARD_ENGINES", "[http://no-list")
    said = run("doctor").err
    assert said.startswith("error: SWITCHYARD_ENGINES is '[http://no-list'")
    assert "neither items with commas between them nor a JSON list" in said
    (tmp_path / "switchyard.toml").write_text("max_lora_rank = = 16")
    assert run("keys", "list").err.startswith("error: switchyard.toml: ")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ENGINES", '[{"url": "http://x:1", "api_key": "sk-hidden", "bse": 1}]', "ENGINES.0.bse is 1: Extra inputs"),
        (
            "ENGINES",
            '[{"url": "http://x:1", "api_key": "sk,hidden"',
            'ENGINES is \'[{"url": "http://x:1", "api_key": …: ',
        ),
        (
            "ENGINES",
            '[{"url": "http://x:1", "api_key": "sk,hidden key"}]',
            "ENGINES.0.api_key is …: String should match",
        ),
        ("ENGINES", '[[{"api_key": "sk-hidden"}]]', "ENGINES.0 is [{'api_key': …: "),
        ("ENGINE_API_KEY", "sk-hidden key", "ENGINE_API_KEY is …: String should match"),
        ("LIMITS_STORE", "http://user:sk-hidden@store:1", "LIMITS_STORE is …: Value error, no URL"),
    ],
)
def test_a_wrong_setting_is_told_without_the_keys_in_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"SWITCHYARD_{name}", value)
    said = run("doctor").err
    assert f"SWITCHYARD_{sentence}" in said
    assert "hidden" not in said


def test_an_error_that_is_not_expected_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("registry.tenants.store.Tenants.all", broken)
    with pytest.raises(ValueError, match="a bug"):
        run("tenants", "list")


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    outcome = run("promote")
    assert outcome.status == 2
    assert "No such command 'promote'" in outcome.err


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("tariff", "add", "--output", "1"), "Missing 'scope', '--input' and '--source'."),
        (("cost", "engines", "add", "*"), "Missing 'kind' and '--source'."),
        (("tariff", "add", "base:x", "--input", "1", "--output", "1"), "Missing option '--source'."),
    ],
)
def test_all_that_is_missing_is_said_at_once(run: Run, typed: tuple[str, ...], sentence: str) -> None:
    outcome = run(*typed)
    assert outcome.status == 2
    assert outcome.err.endswith(f"Error: {sentence}\n")


def test_a_paragraph_of_help_is_broken_by_the_terminal_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    said = run("usage", "--help").out
    assert "INVALID (an engine said so; `rejected` in JSON). Those that were REFUSED" in said
    assert "those of its scope that would begin no earlier" in run("tariff", "--help").out


def test_json_output_stays_clean_when_a_command_fails(run: Run, done: Run) -> None:
    done("tenants", "create", "acme")
    outcome = run("tenants", "create", "acme", "--json")
    assert outcome.out == ""
    assert json.dumps("acme").strip('"') in outcome.err


@pytest.mark.parametrize("command", ["up --port", "up --engine-port", "gateway --port"])
def test_a_port_that_there_cannot_be_is_a_usage_error(run: Run, command: str) -> None:
    refused = run(*command.split(), "70000")
    assert refused.status == 2
    assert "65535" in refused.err


def test_a_port_of_the_settings_that_there_cannot_be_is_told_by_its_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_PORT", "70000")
    refused = run("gateway")
    assert refused.status == 1
    assert refused.err.startswith("error: SWITCHYARD_PORT is '70000'")


def test_a_host_that_is_not_here_is_not_called_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_HOST", "192.0.2.1")
    refused = run("gateway")
    assert refused.status == 1
    assert "192.0.2.1:8000 cannot be listened on" in refused.err
