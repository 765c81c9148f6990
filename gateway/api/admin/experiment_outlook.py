"""`/admin/v1/experiments`: where one stands in words and figures, and what a plan would come to before it begins."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.experiments import PlanOrder
from gateway.api.admin.office import Office, whole_adapter
from gateway.api.admin.shapes import Shape
from gateway.api.admin.swaps import MAX_ID
from gateway.experiments.outlook import outlook_of
from gateway.experiments.simulating import Question, asked
from registry.experiments.plan import Plan

Id = Annotated[int, Path(ge=1, le=MAX_ID)]
MOST_RUNS = 500


class ArmFiguresDocument(Shape):
    """What one arm had so far."""

    name: str = Field(description="The version's number, or base; the control is the first.")
    share: int | None = Field(description="In 1/10,000 of the units now; null before and after.")
    units: int = Field(description="That have met it.")
    judged: int = Field(description="Units whose value is known and counts.")
    failed: int = Field(description="Units that failed.")
    moved: int = Field(description="Units that the ramp has taken away from it.")
    fallbacks: int = Field(description="Units that another arm has answered in its place.")
    requests: int = Field(description="Attempts of its units.")
    cost_nano: int = Field(description="Of its answers, in nano-dollars.")


class LookDocument(Shape):
    """What was known of the primary metric after so many units."""

    units: int = Field(description="Whose value was known, or pairs that were judged.")
    estimate: float = Field(description="Treatment less control; with unit percent, over it less 1.")
    low: float | None = Field(description="The interval's low end; null: it has none yet.")
    high: float | None = Field(description="Its high end.")


class SequenceDocument(Shape):
    """The primary metric's difference over the experiment."""

    metric: str = Field(description="Its name.")
    unit: str = Field(description="points: of rates, 0.02 are two points; percent: of the control's value; plain.")
    direction: str = Field(description="Which values are better: higher or lower.")
    margin: float = Field(description="The difference at which a treatment is as much worse as it may be.")
    sure: float = Field(description="With which probability all intervals of a treatment are right, taken together.")
    looks: dict[str, list[LookDocument]] = Field(description="Treatment → its sequence, oldest first.")


class MoveDocument(Shape):
    """What would follow now."""

    kind: str = Field(description="One of the log's.")
    code: str = Field(description="Why, in a word that does not change with figures.")
    reason: str = Field(description="For people.")
    arm: str | None = Field(description="The treatment that it is about.")
    next_at_ms: int | None = Field(description="When something may follow by the clock alone.")


class EvidenceDocument(Shape):
    """Evidence that something is wrong."""

    of: str = Field(description="sample ratio: arms did not get the units that were planned; else a treatment.")
    log_e: float = Field(description="Its natural logarithm.")
    acts_at: float | None = Field(description="Where it acts by itself; null: by the count of windows that failed.")
    acts: bool = Field(description="Whether it does.")
    failed: tuple[int, int] | None = Field(description="Units that the treatment has failed, and the control.")


class OutlookDocument(Shape):
    """Where an experiment stands."""

    arms: list[ArmFiguresDocument]
    findings: list[str] = Field(description="What is known, a sentence each.")
    evidence: list[EvidenceDocument] = Field(description="The sample ratio, and each treatment's breaker.")
    late: str | None = Field(description="That the analysis does not run, and where to look; null: it does.")
    following: str = Field(description="What comes next, in words.")
    move: MoveDocument | None = Field(description="The same in fields; null where nothing is decided.")
    sequence: SequenceDocument


class SimulationOrder(PlanOrder):
    """A plan to be simulated."""

    effect: float = Field(0.0, description="By how much a treatment differs on the primary metric, in its own unit.")
    control_mean: float | None = Field(None, description="Of the primary metric, where traffic does not tell it.")
    units_a_day: float | None = Field(None, gt=0, description="Instead of those of the last 7 days.")
    runs: int = Field(200, ge=10, le=MOST_RUNS, description="Simulated experiments.")


class TrafficDocument(Shape):
    """What traffic of the last seven days was like."""

    requests: int = Field(description="Of the adapter in these days.")
    units: int = Field(description="Different ones among these requests.")
    units_a_day: float = Field(description="New ones on a day, on average.")
    exact: bool = Field(description="Whether units are known; else each request is taken for one.")


class SimulationDocument(Shape):
    """What would come of a plan."""

    units_a_day: float = Field(description="That were assumed.")
    traffic: TrafficDocument
    left_out: list[str] = Field(description="Guardrails on what nothing is known of: they were not simulated.")
    counted: str = Field(description="What its units are called when they are counted: unit, or window.")
    runs: dict[str, dict[str, Any]] = Field(
        description="What is assumed of a treatment → shares of runs that won, harmed (rolled back) and undecided; "
        "days, units and treated (units that met a treatment): the median, and what nine of ten stay below."
    )


def add_experiment_outlook(router: APIRouter, office: Office) -> None:
    """The routes."""
    registry = office.registry

    @router.get("/experiments/{experiment_id}/outlook")
    def show_outlook(experiment_id: Id) -> OutlookDocument:
        """What is known, what comes next, and the primary metric's sequence."""
        return OutlookDocument.model_validate(outlook_of(registry, registry.experiments.get(experiment_id)))

    @router.post("/experiments/simulate")
    async def simulate_experiment(order: SimulationOrder) -> SimulationDocument:
        """What a plan would come to on the adapter's own traffic; one at a time. Nothing is begun."""
        return await run_in_threadpool(_simulated, office, order)


def _simulated(office: Office, order: SimulationOrder) -> SimulationDocument:
    ref = whole_adapter(order.adapter, "adapter")
    experiments = office.registry.experiments
    plan = experiments.completed(ref, Plan.of(order.plan), alias=order.alias)
    past = experiments.traffic.of(ref, plan.window_ms)
    rate = past.units_a_day if order.units_a_day is None else order.units_a_day
    question = Question(plan, past, rate, order.effect, order.control_mean, order.runs)
    return SimulationDocument(
        units_a_day=rate,
        traffic=TrafficDocument.model_validate(past),
        left_out=list(question.left_out),
        counted=plan.counted,
        runs=asked(question),
    )
