"""`switchyard cost bill`, `idle` and `weights`: what engines cost, and who it falls to."""

from __future__ import annotations

from typing import Any

import typer

from registry.days import as_datetime, month_of, when, window_ms
from registry.errors import InvalidInput
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

IdleOption = typer.Option(
    None, "--idle", help="Who idle time falls to: unallocated, by_share, equal, reserved; default: `cost idle`."
)


def bill(
    since: str | None = typer.Option(None, "--from", help="YYYY-MM-DD (UTC); default: the first of this month."),
    until: str | None = typer.Option(None, "--until", help="YYYY-MM-DD (UTC), exclusive; default: now."),
    idle: str | None = IdleOption,
    cost_version: str | None = typer.Option(
        None, "--cost-version", help="As all was known when an earlier bill named it; default: as now."
    ),
    explain: bool = typer.Option(False, "--explain", help="Show formulas, and what each engine cost on each day."),
    json_output: bool = JsonFlag,
) -> None:
    """What engines cost in a window, and who it falls to; the lines are the bill, to the nano-dollar."""
    from gateway.cost.costing import bill_document
    from registry.db import now_ms

    at_ms = now_ms()
    since_ms, until_ms = window_ms(since, until, (month_of(at_ms)[0], at_ms))
    with open_registry() as registry:
        found = bill_document(registry, since_ms, until_ms, idle=idle, cost_version=cost_version, explain=explain)
    if json_output:
        print_json(found)
    else:
        _print_bill(found)


def _print_bill(found: dict[str, Any]) -> None:
    since, until = as_datetime(found["since_ms"]), as_datetime(found["until_ms"])
    say(f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, costs {found['cost_version']}", "")
    print_table(
        ("KIND", "TENANT", "ATTEMPTS", "MARGINAL", "BUSY", "IDLE SHARE", "FULLY LOADED"),
        (
            (
                line["kind"],
                line["tenant"],
                line["attempts"],
                line["marginal"],
                line["busy"],
                line["idle"],
                line["loaded"],
            )
            for line in found["lines"]
        ),
        empty="no engine had a cost in this window",
    )
    if found["lines"]:
        say("", f"bill       ${found['bill']}; idle time: {found['idle_policy']}; weights: {found['weights']}")
    if found["uncosted_hours"] or found["uncosted_attempts"]:
        say(
            f"uncosted   {found['uncosted_hours']:g} engine hours and {found['uncosted_attempts']} attempts on engines "
            "that had no cost for some of their day; these hours are in none of the figures: "
            "`switchyard cost engines add`"
        )
    if found["margins"]:
        say("")
        print_table(
            ("TENANT", "TARIFF", "UNPRICED", "ENGINE COST", "MARGIN"),
            ((one["tenant"], one["tariff"], one["unpriced"], one["loaded"], one["margin"]) for one in found["margins"]),
        )
    say("")
    print_table(
        ("ENGINE", "BILL", "BUSY", "PAID HOURS", "UNCOSTED HOURS"),
        (
            (one["engine"], one["bill"], one["busy"], f"{one['paid_hours']:.2f}", f"{one['uncosted_hours']:.2f}")
            for one in found["engines"]
        ),
        empty="no engine was there",
    )
    for name, formula in found.get("formulas", {}).items():
        say(f"{name:10} {formula}")
    for day in found.get("days", ()):
        say("", f"{day['day']}  {day['engine']}: ${day['bill']} ({day['weights'] or 'no cost'})")
        for cost in day["costs"]:
            terms = ", ".join(f"{name} {text}" for name, text in cost["terms"].items())
            said = f"${cost['an_hour']} an hour = {cost['formula']} ({terms}), {cost['source']}"
            say(f"  {cost['hours']:g} h of {cost['scope']}, line {cost['line']}: {said}")


def idle(
    policy: str | None = typer.Argument(None, help="unallocated, by_share, equal or reserved; left out: show it."),
    share: list[str] = typer.Option([], "--share", help="reserved: TENANT=0.25, of all idle time; give it again."),
    json_output: bool = JsonFlag,
) -> None:
    """Show, or say, who idle time falls to unless a bill is asked for otherwise."""
    from gateway.cost.allocation import idle_of

    with open_registry() as registry:
        if policy is None:
            known = registry.idle_policies.newest()
            said = "unallocated, as nobody has said otherwise" if known is None else _said(known.policy, known.shares)
            print_done(known, f"idle time: {said}", json_output)
            return
        shares = dict(map(_share, share))
        idle_of(policy, shares)
        for tenant in shares:
            registry.tenants.get(tenant)
        put = registry.idle_policies.put(policy, shares, actor=actor())
    print_done(put, f"idle time: {_said(policy, shares)}", json_output)


def _share(text: str) -> tuple[str, str]:
    tenant, found, part = text.partition("=")
    if not found:
        raise InvalidInput(f"share is {text[:80]!r}; expected TENANT=0.25", param="share")
    return tenant, part


def _said(policy: str, shares: Any) -> str:
    return policy + "".join(f", {tenant} {part}" for tenant, part in sorted(shares.items()))


def weights(
    fit_now: bool = typer.Option(False, "--fit", help="Fit them now, from the samples of the last 14 days."),
    json_output: bool = JsonFlag,
) -> None:
    """Show how much of an engine a token takes, by base and kind of engine; the leader fits it once a day."""
    from gateway.cost.allocation import ASSUMED
    from gateway.cost.weights import NoFit, fit
    from registry.db import now_ms

    with open_registry() as registry:
        failed = []
        for base_digest, kind in registry.engine_weights.sampled() if fit_now else ():
            found = fit(registry.engine_weights.samples(base_digest, kind), now_ms())
            if isinstance(found, NoFit):
                failed.append({"base_digest": base_digest, "kind": kind, "reason": found.reason})
            else:
                registry.engine_weights.put(found)
        fits = registry.engine_weights.all()
    if json_output:
        print_json({"fits": fits, "failed": failed, "until_then": ASSUMED})
        return
    print_table(
        ("BASE", "ENGINES", "NS A PROMPT TOKEN", "NS A COMPLETION TOKEN", "RESIDUAL", "SAMPLES", "FITTED"),
        (
            (
                one.base_digest[:19],
                one.kind,
                f"{one.uncached_ps / 1000:,.0f}",
                f"{one.completion_ps / 1000:,.0f}",
                f"{one.residual:.3f}",
                one.samples,
                when(one.made_at_ms),
            )
            for one in fits
        ),
        empty=f"nothing is fitted yet, so weights are {ASSUMED.name}",
    )
    for one in failed:
        say(f"no fit for {one['base_digest'][:19]} on {one['kind']}: {one['reason']}")
