"""A scenario's case, as people write it: decimal dollars, shares, an hour's or a month's price of a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.cost.assumptions import share_of
from gateway.cost.scenario import HOURS_A_MONTH, Case
from registry.errors import InvalidInput
from registry.money import dollars_to_nano


@dataclass(frozen=True, slots=True)
class Terms:
    """What is written as text; `None`: the guide's."""

    cached_share: str | None = None
    batch_share: str | None = None
    gpu_month: str | None = None
    gpu_hour: str | None = None
    own_training: str | None = None


def case_of(case: Case, terms: Terms) -> Case:
    """The case with what the terms say. Raises `InvalidInput`."""
    if terms.gpu_month is not None and terms.gpu_hour is not None:
        raise InvalidInput("gpu_hour and gpu_month are both given; say one of them", param="gpu_hour")
    engine_nano, training_nano = case.engine_nano, case.own_training_nano
    if terms.gpu_month is not None:
        engine_nano = dollars_to_nano(terms.gpu_month, "gpu_month")
    if terms.gpu_hour is not None:
        engine_nano = dollars_to_nano(terms.gpu_hour, "gpu_hour") * HOURS_A_MONTH
    if terms.own_training is not None:
        training_nano = dollars_to_nano(terms.own_training, "own_training")
    cached, batch = share_of(terms.cached_share, "cached_share"), share_of(terms.batch_share, "batch_share")
    return replace(
        case,
        cached_share=case.cached_share if cached is None else cached,
        batch_share=case.batch_share if batch is None else batch,
        engine_nano=engine_nano,
        own_training_nano=training_nano,
    )
