"""What is to be compared, from what somebody has asked for: the one way from an order to a certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from registry.adapters.version_rows import VersionInfo
from registry.errors import InvalidInput
from registry.gates.policy import Policy
from registry.gates.store import CertificateInfo
from registry.names import PRODUCTION, AdapterRef
from registry.service import Registry
from registry.storage.blobs import digest_of
from trainer.evaluation.asking import Asker
from trainer.evaluation.comparison import Evaluation, Extras, Wanted, compare
from trainer.evaluation.harness import Harness
from trainer.evaluation.judge import Judge
from trainer.evaluation.judged import read_conversations
from trainer.evaluation.record import finding_of
from trainer.evaluation.rows import EvaluationSet
from trainer.evaluation.sides import extras_of, incumbent_of, metrics_of, ordinary, side_of

Told = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class EvaluationOrder:
    """A version, the rows that it is asked, and what it is compared with.

    `against` None: what `alias` points at, else the base. `wish` is the gate that was asked for with the order; where
    the alias has one of its own, that one judges. `talks` and `general` are files of conversations and prompts.
    """

    version: VersionInfo
    data: EvaluationSet
    alias: str = PRODUCTION
    against: str | None = None
    metrics: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    max_tokens: int | None = None
    at_once: int = 4
    wish: Policy | None = None
    talks: Path | None = None
    general: Path | None = None

    @property
    def ref(self) -> AdapterRef:
        """The version's name."""
        return AdapterRef(self.version.tenant, self.version.adapter, self.version.version, None)


@dataclass(frozen=True, slots=True)
class Helpers:
    """Who else has a say: a model that judges, and lm-evaluation-harness."""

    judge: Judge | None = None
    harness: Harness | None = None


def evaluated(
    registry: Registry,
    order: EvaluationOrder,
    ask: Asker,
    told: Told = lambda done, total: None,
    helpers: Helpers = Helpers(),
) -> Evaluation:
    """Ask everything. `told` hears how many rows of how many are done; what it raises ends it.

    Raises EvaluationError, EndpointError, DataError, and `RegistryError`.
    """
    wanted = _wanted(registry, order)
    return compare(replace(wanted, extras=_helped(wanted.extras, order, helpers)), ask, told)


def record(registry: Registry, order: EvaluationOrder, found: Evaluation, actor: str) -> CertificateInfo:
    """Write down what was found, with the gate's verdict. Nothing is promoted."""
    return registry.gates.record(order.ref, finding_of(found), alias=order.alias, wish=order.wish, actor=actor)


def _wanted(registry: Registry, order: EvaluationOrder) -> Wanted:
    version = order.version
    asked = (*order.metrics, *(order.wish.metrics if order.wish is not None else ()))
    names = metrics_of(registry, version, order.alias, asked)
    return Wanted(
        side_of(version),
        incumbent_of(registry, version, order.against or order.alias, required=order.against is not None),
        order.data,
        ordinary(names),
        order.slices,
        order.max_tokens,
        order.at_once,
        extras_of(registry, version, names, general=order.general),
    )


def _helped(extras: Extras, order: EvaluationOrder, helpers: Helpers) -> Extras:
    """With the helpers, and what decides their figures."""
    settings = dict(extras.settings)
    if order.talks is not None:
        if helpers.judge is None:
            raise InvalidInput("talk is for a judge; name one with --judge", param="talk")
        extras = replace(extras, talks=read_conversations(order.talks))
        settings["talks"] = digest_of(order.talks.read_bytes())
    if helpers.harness is not None:
        settings["harness"] = {"limit": helpers.harness.limit, "chat": helpers.harness.chat}
    return replace(extras, judge=helpers.judge, harness=helpers.harness, settings=settings)
