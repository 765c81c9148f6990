"""`switchyard gates`: what a version must have shown before an alias may point at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.days import when
from registry.errors import InvalidInput
from registry.names import PRODUCTION, parse_ref, parse_whole_adapter
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.progress import reporting
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.gates.policy import Guard
    from registry.gates.store import CertificateInfo, GateInfo

gates = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Set what a version must have shown before it is promoted."
)
Adapter = typer.Argument(help="tenant/adapter.")
AliasOption = typer.Option(PRODUCTION, "--alias", help="The alias that it guards.")


@gates.command("set")
def set_gate(
    name: str = Adapter,
    target: str = typer.Option(..., "--target", help="The metric on which a candidate must be better."),
    better_by: float = typer.Option(0.0, "--better-by", help="By more than this, in the metric's own unit."),
    guard: list[str] = typer.Option(
        [], "--guard", help="METRIC:MARGIN, on which it may be worse by so much at most; repeatable."
    ),
    least_units: int = typer.Option(20, "--least-units", help="Conversations that an evaluation must have."),
    data: Path | None = typer.Option(None, "--data", help="Only an evaluation on this file counts."),
    alias: str = AliasOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let an alias move only to a version that was better on a metric, and not worse on others, than what it names."""
    from registry.gates.policy import Policy

    ref = parse_whole_adapter(name)
    with reporting(), open_registry() as registry:
        policy = Policy(target, better_by, tuple(map(_guard, guard)), least_units, _digest_of(data))
        _require_metrics(policy.metrics)
        info = registry.gates.set(ref, policy, alias=alias, actor=actor())
    print_done(info, f"{info.adapter}@{info.alias} moves only to what {_asked(info)}", json_output)


@gates.command("show")
def show_gates(
    name: str | None = typer.Argument(None, help="tenant/adapter, or a version of it with its certificates."),
    json_output: bool = JsonFlag,
) -> None:
    """List gates, or show a version's certificates and why it has passed or not."""
    ref = parse_ref(name) if name else None
    with open_registry() as registry:
        infos = registry.gates.all(ref)
        found = registry.gates.certificates(ref) if ref is not None and "@" in (name or "") else []
    if json_output:
        print_json({"gates": infos, "certificates": found})
        return
    print_table(
        ("ALIAS", "ASKS FOR", "SET BY", "AT"),
        ((f"{info.adapter}@{info.alias}", _asked(info), info.actor, when(info.set_at_ms)) for info in infos),
        empty="no gate is set; `switchyard gates set` sets one",
    )
    for certificate in found:
        _print_certificate(certificate)
    if "@" in (name or "") and not found:
        say(f"{name} has no certificate; `switchyard evaluate {name} --data FILE` makes one")


@gates.command("clear")
def clear_gate(name: str = Adapter, alias: str = AliasOption, json_output: bool = JsonFlag) -> None:
    """Let an alias move without a certificate again."""
    with open_registry() as registry:
        info = registry.gates.clear(parse_whole_adapter(name), alias=alias, actor=actor())
    print_done(info, f"{info.adapter}@{info.alias} has no gate any more", json_output)


@gates.command("certificate")
def show_certificate(digest: str = typer.Argument(help="Its digest, or the beginning of it.")) -> None:
    """Print one certificate as the JSON document that its digest names."""
    with open_registry() as registry:
        print_json(registry.gates.certificate(digest).document)


def _guard(text: str) -> Guard:
    from registry.gates.policy import Guard

    metric, _, margin = text.rpartition(":")
    try:
        return Guard(metric, float(margin))
    except ValueError:
        told = f"guard is {text[:80]!r}; expected METRIC:MARGIN, such as rouge_l:0.02"
        raise InvalidInput(told, param="guard") from None


def _digest_of(data: Path | None) -> str | None:
    from registry.storage.blobs import digest_of

    if data is None:
        return None
    try:
        return digest_of(data.read_bytes())
    except OSError as failed:
        told = f"data is {str(data)!r}, which cannot be read ({failed.strerror}); name a JSONL file"
        raise InvalidInput(told, param="data") from failed


def _require_metrics(names: tuple[str, ...]) -> None:
    from trainer.evaluation.sides import ordinary

    ordinary(names)


def _asked(info: GateInfo) -> str:
    policy = info.policy
    parts = [f"is better on {policy.target} by more than {policy.better_by:g}"]
    parts += [f"worse on {guard.metric} by {guard.margin:g} at most" for guard in policy.guards]
    parts.append(f"{policy.least_units} conversations at least")
    if policy.data is not None:
        parts.append(f"evaluation set {policy.data[7:19]}")
    return ", ".join(parts)


def _print_certificate(certificate: CertificateInfo) -> None:
    against = certificate.document["incumbent"]["model"]
    data = certificate.document["data"]
    say("", f"{certificate.verdict}: against {against} on {data['rows']} rows of {data['name']}")
    say(*(f"  {reason}" for reason in certificate.document["reasons"]))
    say(f"  certificate {certificate.digest}, made by {certificate.actor} {when(certificate.made_at_ms)}")
