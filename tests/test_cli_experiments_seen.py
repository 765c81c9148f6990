"""`switchyard experiments status`, `watch`, `replay`, `decisions --export` and `simulate`: what is seen of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.experiments.analyst import step
from gateway.experiments.deciding import Decider
from registry.service import Registry
from switchyard.experiment_picture import Caption, picture
from switchyard.sequence_plot import Point
from tests.support.adapter_folders import lora_tensors, write_adapter
from tests.support.cli_runner import Run, done, run, tiny_base
from tests.support.experiment_parts import Traffic, begun, carried_out

__all__ = ["done", "run", "tiny_base"]
ARMS = ("1.0", "1.1")
PLAN = """
guardrails = []
[[ramp]]
percent = 50
min_units = 5000
[metric]
name = "errors"
window_s = 0
"""


@pytest.fixture
def shop(done: Run, tiny_base: str, tmp_path: Path) -> Run:
    """acme/triage@1.0 in production, and @1.1."""
    done("tenants", "create", "acme")
    for seed in (1, 2):
        folder = write_adapter(tmp_path / f"adapter-{seed}", tensors=lora_tensors(seed=1000 * seed))
        done("adapters", "publish", "acme/triage", folder, "--base", tiny_base)
    done("adapters", "promote", "acme/triage@1.0")
    return done


@pytest.fixture
def rolled_back(shop: Run) -> Iterator[Traffic]:
    """A thousand units were alike, and then 1.1 broke."""
    with Registry.open() as registry:
        plan = {"metric": {"name": "errors", "window_s": 0}, "guardrails": []}
        info = begun(registry, **plan, ramp=[{"percent": 50, "dwell_s": 3_600, "min_units": 5_000}])
        traffic = Traffic(registry, info)
        lease = registry.leadership.acquire("test", "here")
        assert lease is not None
        traffic.book(*(traffic.row(f"unit {number}", ARMS[number % 2]) for number in range(1_000)))
        for _ in range(2):
            step(registry.experiments.analysis, info.id, lease.token, 0)
        Decider(registry, lease.token).decide(info.id)
        traffic.book(*(traffic.failed(f"broken {number}", "1.1") for number in range(60)))
        step(registry.experiments.analysis, info.id, lease.token, 0)
        Decider(registry, lease.token).decide(info.id)
        carried_out(registry, info.id)
        yield traffic


def test_status_says_in_words_what_is_known_and_what_happened(rolled_back: Traffic, done: Run) -> None:
    said = done("experiments", "status", "acme/triage").out
    assert "experiment 1 (experiment-1) of acme/triage@production: rolled back" in said
    assert "errors: 1.1 is between" in said
    assert "rollback: 1.1 failed 60 units while 1.0 failed 0" in said
    assert "it has ended" in said
    row = next(line for line in said.splitlines() if line.startswith("1.0 (control)"))
    assert row.split()[2:6] == ["–", "500", "500", "0"]
    document = done("experiments", "status", "1", "--json").document
    assert document["standing"]["breakers"]["1.1"]["open"] is True
    assert document["next"] is None


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_status_draws_the_sequence(rolled_back: Traffic, done: Run, tmp_path: Path, name: str, begins: bytes) -> None:
    told = done("experiments", "status", "1", "--plot", tmp_path / name).err
    assert f"the picture is in {tmp_path / name}" in told
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_picture_of_the_first_look_alone_has_its_interval() -> None:
    first = {"1.1": [Point(201, -0.99, -1.0, -0.92)]}
    drawn = picture(first, "first", Caption("solved", "higher", 0.0, "95 %, any time"), "svg").decode()
    assert 'id="LineCollection_1"' in drawn, "the interval of errorbar"
    assert "PolyCollection" not in drawn, "a band of no width"


def test_a_picture_of_another_kind_is_refused(rolled_back: Traffic, run: Run) -> None:
    refused = run("experiments", "status", "1", "--plot", "a.bmp")
    assert refused.status == 1
    assert "--plot is 'a.bmp'; name a file that ends with .png or .svg" in refused.err


def test_a_picture_of_what_is_not_known_yet_is_not_drawn(shop: Run, run: Run, tmp_path: Path) -> None:
    shop("experiments", "create", "acme/triage", "1.1", "--draft")
    refused = run("experiments", "status", "1", "--plot", tmp_path / "a.png")
    assert refused.status == 1
    assert "--plot has nothing to show yet" in refused.err
    assert not (tmp_path / "a.png").exists()


def test_watch_shows_the_sequence_as_a_plot_and_ends_with_the_experiment(rolled_back: Traffic, done: Run) -> None:
    said = done("experiments", "watch", "1").out
    assert "errors: 1.1 less 1.0" in said
    assert "█" in said
    assert "1000 units" in said
    assert said.splitlines()[-1] == "it has ended"


def test_an_experiment_of_which_nothing_is_known_yet_says_so(shop: Run) -> None:
    shop("experiments", "create", "acme/triage", "1.1", "--draft")
    said = shop("experiments", "status", "acme/triage").out
    assert "nothing is known yet" in said
    assert "nothing was decided yet" in said


def test_decisions_are_made_again_from_the_database_and_from_a_file(
    rolled_back: Traffic, done: Run, tmp_path: Path
) -> None:
    same = "acme/triage:experiment-1: 2 of 2 decisions of the controller come out the same, bit for bit\n"
    assert done("experiments", "replay", "acme/triage").out == same
    file = tmp_path / "log.jsonl"
    assert f"the log is in {file}" in done("experiments", "decisions", "1", "--export", file).err
    assert done("experiments", "replay", "--file", file).out == same
    assert done("experiments", "replay", "--file", file, "--json").document["same"] is True


def test_a_difference_is_shown_and_exits_with_1(rolled_back: Traffic, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    assert run("experiments", "decisions", "1", "--export", file).status == 0
    file.write_text(
        file.read_text().replace('"errors": 1.0', '"errors": 0.5').replace('"failed_arm": "1.1"', '"failed_arm": "1.0"')
    )
    differs = run("experiments", "replay", "--file", file)
    assert differs.status == 1
    assert "(rollback): its inputs are sha256:" in differs.out
    assert "1 of 2 decisions of the controller come out the same" in differs.out


@pytest.mark.parametrize("words", [(), ("1", "--file", "x")])
def test_replay_wants_one_source(shop: Run, run: Run, words: tuple[str, ...]) -> None:
    refused = run("experiments", "replay", *words)
    assert refused.status == 1
    assert "name an experiment, or a file with --file" in refused.err


def test_a_file_that_is_no_export_is_refused(shop: Run, run: Run, tmp_path: Path) -> None:
    for text in ("hello", "[" * 100_000):
        (tmp_path / "x").write_text(text)
        refused = run("experiments", "replay", "--file", tmp_path / "x")
        assert "--file is no export of an experiment" in refused.err


def test_simulate_tells_how_long_a_plan_would_take_on_the_traffic_that_there_was(
    rolled_back: Traffic, done: Run, tmp_path: Path
) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    said = done("experiments", "simulate", "acme/triage", "1.1", "--plan", tmp_path / "plan.toml", "--runs", "20").out
    assert "traffic of the last 7 days" in said
    assert "if it is no different" in said


def test_simulate_before_there_is_traffic_leaves_out_guardrails_of_which_nothing_is_known(
    shop: Run, tmp_path: Path
) -> None:
    (tmp_path / "plan.toml").write_text("[[ramp]]\npercent = 50\n[metric]\nname = 'errors'\nmargin = 0.1\n")
    words = ("--plan", tmp_path / "plan.toml", "--units-a-day", "3000", "--runs", "10")
    said = shop("experiments", "simulate", "acme/triage", "1.1", *words).out
    assert "not simulated, as nothing is known of them: guardrails on latency_p95" in said
    assert "3,000 units a day" in said
    assert "undecided in 100%" not in said


def test_simulate_asks_for_the_mean_of_a_metric_that_traffic_does_not_tell(shop: Run, run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('[metric]\nname = "solved"\ndirection = "higher"\n')
    words = ("--plan", tmp_path / "plan.toml", "--units-a-day", "3000")
    refused = run("experiments", "simulate", "acme/triage", "1.1", *words)
    assert refused.status == 1
    assert "--control-mean is not known: traffic does not tell 'solved'" in refused.err


@pytest.mark.parametrize(("option", "value"), [("--control-mean", "5"), ("--control-mean", "-0.1"), ("--effect", "2")])
def test_simulate_takes_rates_for_parts_of_a_whole(shop: Run, run: Run, option: str, value: str) -> None:
    refused = run("experiments", "simulate", "acme/triage", "1.1", "--units-a-day", "3000", option, value)
    assert refused.status == 1
    assert f"{option} is {value}, and errors is a part of all" in refused.err


def test_simulate_without_traffic_says_what_to_give(shop: Run, run: Run) -> None:
    refused = run("experiments", "simulate", "acme/triage", "1.1")
    assert refused.status == 1
    assert "--units-a-day" in refused.err
