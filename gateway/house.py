"""What the request path needs of the running gateway."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.body_clock import BodyClock
from gateway.api.fields.caps import Caps
from gateway.api.keys_at_work import KeysAtWork
from gateway.api.pings import Pings
from gateway.catalog_watch import CatalogWatch
from gateway.cost.accountant.asking import Accountant
from gateway.desk import Desk
from gateway.door import Door
from gateway.experiments.shadow.copying import Copies
from gateway.feedback.box import FeedbackBox
from gateway.files.cabinet import Cabinet
from gateway.journal.journal import Journal
from gateway.limits.limits import Limits
from gateway.limits.output_lengths import OutputLengths
from gateway.limits.prompt_tokens import PromptTokens
from gateway.limits.refusal_counts import RefusalCounts
from gateway.limits.refusal_pace import RefusalPace
from gateway.metrics.telling import Telling
from gateway.metrics.worker import Metrics
from gateway.request_log import RequestLog
from gateway.responses.archive import Archive
from gateway.scoring.scorer import Scorer
from gateway.settings import GatewaySettings
from gateway.splits.units import Units
from gateway.steps.admit import Admission
from gateway.steps.load import Fleet
from gateway.steps.resolve import Targets
from gateway.training.workshop import Workshop
from telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class House:
    """Made once, at the start. Steps take the whole of it where they name what they need as a protocol."""

    settings: GatewaySettings
    caps: Caps
    catalog: CatalogWatch
    fleet: Fleet
    admission: Admission
    desk: Desk
    accountant: Accountant
    door: Door
    limits: Limits
    lengths: OutputLengths
    prompts: PromptTokens
    targets: Targets
    units: Units
    journal: Journal
    pings: Pings
    keys_at_work: KeysAtWork
    body_clock: BodyClock
    metrics: Metrics
    telling: Telling
    refused: RefusalCounts
    pace: RefusalPace
    requests: RequestLog
    copies: Copies
    archive: Archive
    cabinet: Cabinet
    workshop: Workshop
    feedback: FeedbackBox
    scorer: Scorer
    tracing: Tracing | None
    """`None`: nothing is traced."""
