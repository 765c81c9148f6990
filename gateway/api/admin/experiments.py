"""`/admin/v1/experiments`: versions tried on an alias's traffic: begun, looked at, and decided on by hand.

An experiment's etag names what was decided so far: with `If-Match` a decision is taken only on what its maker has seen.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.etags import IfMatch, expected_by, tag
from gateway.api.admin.office import Office, in_json, one_page, whole_adapter
from gateway.api.admin.shapes import Actor, After, Limit, Next, Order, Reason, Shape
from gateway.api.admin.swaps import MAX_ID, Override
from registry.errors import InvalidInput
from registry.experiments.infos import BY_HAND, Decision, DecisionInfo, ExperimentInfo
from registry.experiments.plan import Plan
from registry.experiments.words import plan_said
from registry.names import PRODUCTION

Id = Annotated[int, Path(ge=1, le=MAX_ID)]
Words = Annotated[list[str], Field(description="The plan in sentences.")]


class ExperimentArmDocument(Shape):
    """One arm."""

    name: str = Field(description="The version's number, or base.")
    version_id: int = Field(description="The registry's number of the version; 0 for the base.")
    digest: str = Field(description="Of the version's manifest, or of the base.")
    quarantined: str | None = Field(description="Why no engine may have it; null: any may.")


class ExperimentDocument(Shape):
    """An experiment as it stands."""

    id: int = Field(description="GET /admin/v1/experiments/{id} shows it.")
    name: str = Field(description="Its name in the adapter.")
    adapter: str = Field(description="tenant/adapter.")
    alias: str = Field(description="The alias whose traffic it has.")
    state: str = Field(description="draft, running, paused, inconclusive; at the end promoted, rolled_back or stopped.")
    plan: dict[str, Any] = Field(description="As it was frozen.")
    arms: list[ExperimentArmDocument] = Field(description="The control first.")
    step: int = Field(description="Of the ramp, from 0; -1 before its first.")
    stepped_at_ms: int | None = Field(description="When the step began, in milliseconds since the epoch.")
    weights: dict[str, int] = Field(description="Arm → 1/10,000 of the traffic now; empty before and after.")
    splits: list[int] = Field(description="Ids of its splits: usage rows have them.")
    swap_id: int | None = Field(description="The last swap that it has asked for.")
    moving: bool = Field(description="Whether that swap is under way: the last decision is not in force yet.")
    standing: dict[str, Any] | None = Field(description="What the analysis has found so far.")
    standing_at_ms: int | None = Field(description="When, in milliseconds since the epoch.")
    actor: str = Field(description="Who made it.")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    started_at_ms: int | None = Field(description="When its first step began to route.")
    ended_at_ms: int | None = Field(description="When it ended.")
    etag: str = Field(description="Changes with every decision; send it as If-Match with one.")


class ExperimentsDocument(Shape):
    """A page of experiments, newest first."""

    experiments: list[ExperimentDocument]
    next: Next


class DecisionDocument(Shape):
    """A line of an experiment's log."""

    experiment_id: int = Field(description="Whose it is.")
    seq: int = Field(description="From 1, without a gap.")
    at_ms: int = Field(description="Milliseconds since the epoch.")
    kind: str = Field(
        description="start, ramp, hold, pause, resume, inconclusive, promote, rollback, stop; alarm: it holds, and a "
        "person should look; ask: a person decides; failed: what was decided could not be carried out."
    )
    from_state: str = Field(description="The state before.")
    to_state: str = Field(description="The state after; with a swap, from its flip on.")
    step: int = Field(description="Of the ramp, after it.")
    weights: dict[str, int] = Field(description="Arm → 1/10,000 of the traffic, after it.")
    figures: dict[str, Any] = Field(description="What it was decided on.")
    reason: str = Field(description="For people.")
    inputs_digest: str = Field(description="Of the analysis that it was decided on; empty for a person's.")
    actor: str = Field(description="Who decided; controller: the plan.")
    swap_id: int | None = Field(description="What carries it out; null: nothing had to be moved.")
    previous: str = Field(description="Digest of the decision before it.")
    digest: str = Field(description="Of this one.")


class DecisionsDocument(Shape):
    """A page of a log, oldest first."""

    decisions: list[DecisionDocument]
    faults: list[str] = Field(description="What is wrong with the whole log; empty when nobody has touched it.")
    next: Next


class PreviewDocument(Shape):
    """What an experiment would do."""

    plan: dict[str, Any] = Field(description="As it would be frozen.")
    words: Words


class PlanOrder(Order):
    """What is to be tried."""

    adapter: str = Field(description="tenant/adapter.")
    alias: str = Field(PRODUCTION, description="The alias whose traffic is meant.")
    plan: dict[str, Any] = Field(
        description="docs/experiments.md has its fields; `treatments` alone is enough.",
        examples=[{"treatments": ["1.1"]}],
    )


class ExperimentOrder(PlanOrder):
    """A new experiment."""

    name: str | None = Field(None, max_length=63, description="In the adapter; default: experiment-1 and so on.")
    draft: bool = Field(False, description="Write it down and begin nothing; `start` begins it.")
    actor: Actor


class DecisionOrder(Order):
    """What a person decides."""

    reason: Reason = ""
    actor: Actor


class StopOrder(DecisionOrder):
    """An end without a winner."""

    keep: bool = Field(False, description="Leave the split as it is, to people.")


class WinnerOrder(DecisionOrder):
    """An end with a winner."""

    version: str | None = Field(None, max_length=20, description="The treatment, where there are several.")
    override: Override = None


def add_experiments(router: APIRouter, office: Office) -> None:
    """The routes."""
    _add_reading(router, office)
    _add_making(router, office)
    _add_deciding(router, office)


def _add_reading(router: APIRouter, office: Office) -> None:
    experiments = office.registry.experiments

    @router.get("/experiments", response_model=ExperimentsDocument)
    def list_experiments(
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        adapter: Annotated[str | None, Query(description="Only those of this tenant/adapter.")] = None,
        not_ended: Annotated[bool, Query(description="Only those that have not ended.")] = False,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """Experiments, the newest first."""
        ref = whole_adapter(adapter, "adapter") if adapter else None
        found = experiments.page(_id_of(after), limit + 1, ref=ref, tenant=tenant, not_ended=not_ended)
        page, following = one_page(found, limit, attrgetter("id"))
        return in_json(ExperimentsDocument(experiments=[_document(info) for info in page], next=following))

    @router.get("/experiments/{experiment_id}")
    def show_experiment(experiment_id: Id, response: Response) -> ExperimentDocument:
        """One experiment, with what its analysis has found."""
        info = experiments.get(experiment_id)
        tag(response, info.etag)
        return _document(info)

    @router.get("/experiments/{experiment_id}/decisions", response_model=DecisionsDocument)
    def list_decisions(experiment_id: Id, after: After = None, limit: Limit = 100) -> Response:
        """What was decided, the oldest first, and whether the log is as it was written."""
        found = experiments.decisions(experiment_id, _id_of(after) or 0, limit + 1)
        page, following = one_page(found, limit, attrgetter("seq"))
        lines = [DecisionDocument.model_validate(line) for line in page]
        return in_json(DecisionsDocument(decisions=lines, faults=experiments.faults(experiment_id), next=following))


def _add_making(router: APIRouter, office: Office) -> None:
    experiments = office.registry.experiments

    @router.post("/experiments/preview")
    def preview_experiment(order: PlanOrder) -> PreviewDocument:
        """What an experiment would do; refused where it could not begin. Nothing is done."""
        ref = whole_adapter(order.adapter, "adapter")
        plan = experiments.preview(ref, Plan.of(order.plan), alias=order.alias)
        return PreviewDocument(plan=plan.document, words=list(plan_said(plan, ref.adapter_name, order.alias)))

    @router.post("/experiments", status_code=202)
    async def create_experiment(order: ExperimentOrder, response: Response) -> ExperimentDocument:
        """Begin an experiment: the controller loads and proves its treatments before the first unit moves."""
        info = await run_in_threadpool(
            experiments.create,
            whole_adapter(order.adapter, "adapter"),
            Plan.of(order.plan),
            alias=order.alias,
            name=order.name,
            actor=order.actor,
            draft=order.draft,
        )
        office.worker.wake()
        tag(response, info.etag)
        return _document(info)


def _add_deciding(router: APIRouter, office: Office) -> None:
    experiments = office.registry.experiments

    async def decide(experiment_id: int, decision: Decision, if_match: str | None) -> DecisionDocument:
        made: DecisionInfo = await run_in_threadpool(
            experiments.decide, experiment_id, decision, expected=expected_by(if_match)
        )
        if made.swap_id is not None:
            office.worker.wake()
        return DecisionDocument.model_validate(made)

    @router.post("/experiments/{experiment_id}/stop", status_code=202)
    async def stop_experiment(experiment_id: Id, order: StopOrder, if_match: IfMatch = None) -> DecisionDocument:
        """End it: all traffic to the control, or, with `keep`, as it is."""
        decision = Decision("stop", order.reason or BY_HAND["stop"], keep=order.keep, actor=order.actor)
        return await decide(experiment_id, decision, if_match)

    @router.post("/experiments/{experiment_id}/promote", status_code=202)
    async def promote_experiment(experiment_id: Id, order: WinnerOrder, if_match: IfMatch = None) -> DecisionDocument:
        """End it with a winner: the alias moves there."""
        decision = Decision(
            "promote",
            order.reason or BY_HAND["promote"],
            arm=order.version,
            override=order.override,
            actor=order.actor,
        )
        return await decide(experiment_id, decision, if_match)

    @router.post("/experiments/{experiment_id}/{action}", status_code=202)
    async def steer_experiment(
        experiment_id: Id,
        action: Literal["start", "pause", "resume", "rollback"],
        order: DecisionOrder,
        if_match: IfMatch = None,
    ) -> DecisionDocument:
        """Begin a draft, pause, resume, or end it because of harm."""
        decision = Decision(action, order.reason or BY_HAND[action], actor=order.actor)
        return await decide(experiment_id, decision, if_match)


def _id_of(after: str | None) -> int | None:
    if after is None:
        return None
    if not after.isdecimal() or len(after) > 18:
        raise InvalidInput(f"after is {after[:40]!r}; send `next` of the page before", param="after")
    return int(after)


def _document(info: ExperimentInfo) -> ExperimentDocument:
    return ExperimentDocument.model_validate(info.document)
