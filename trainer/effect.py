"""The effect proof: what the adapter does to a few texts, for the gateway to check after every load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from registry.adapters.effect_proof import LEAST_EFFECT_IN_NOISES, NOISE_NATS, Probe
from trainer.errors import TrainingRefused
from trainer.forward import token_logprobs
from trainer.probes import PROBES, Text

LEAST_EFFECT = LEAST_EFFECT_IN_NOISES * NOISE_NATS
MAX_POSITIONS = 12


def prove_effect(model: Any, texts: Sequence[Text]) -> tuple[Probe, ...]:
    """Measure a PEFT model with its adapter on and off, in the order of the texts.

    Raises TrainingRefused when the adapter cannot be told from its base on any of them, or answers with no numbers.
    """
    probes = measure_effect(model, texts)
    largest = max(probe.largest_effect for probe in probes)
    if largest < LEAST_EFFECT:
        raise TrainingRefused(
            f"the adapter is indistinguishable from the base: no log-probability of {len(probes)} texts of the data "
            f"moved by more than {largest:.3f} nats, and {LEAST_EFFECT:.2f} is the least that can be told from noise; "
            "train longer, or raise training.learning_rate"
        )
    return probes


def measure_effect(model: Any, texts: Sequence[Text]) -> tuple[Probe, ...]:
    """What the adapter of a PEFT model changes in each text, however little.

    Raises TrainingRefused when it answers with what is no number.
    """
    adapter = token_logprobs(model, texts)
    if not all(math.isfinite(value) for values in adapter for value in values):
        raise TrainingRefused("the adapter answers with what is no number; lower training.learning_rate or lora.alpha")
    with model.disable_adapter():
        base = token_logprobs(model, texts)
    return tuple(_probe(*measured) for measured in zip(texts, base, adapter, strict=True))


def strongest_probes(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """The few of many probes to keep: those with the largest effect, without any that is lost in the noise while others
    are not, for an engine may be asked the first one alone. Shortest first.
    """
    ranked = sorted(probes, key=lambda probe: -probe.largest_effect)[:PROBES]
    telling = [probe for probe in ranked if probe.largest_effect >= LEAST_EFFECT]
    return tuple(sorted(telling or ranked, key=lambda probe: (len(probe.token_ids), probe.token_ids)))


def _probe(text: Text, base: list[float], adapter: list[float]) -> Probe:
    size = {position: abs(adapter[position - 1] - base[position - 1]) for position in range(1, len(text))}
    chosen = tuple(sorted(sorted(size, key=lambda position: -size[position])[:MAX_POSITIONS]))
    return Probe(
        text,
        chosen,
        tuple(round(base[position - 1], 5) for position in chosen),
        tuple(round(adapter[position - 1], 5) for position in chosen),
    )
