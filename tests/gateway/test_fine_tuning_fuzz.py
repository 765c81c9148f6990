"""Whatever a client sends as an order of a job, it is an order or a refusal that names a field."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from gateway.api.fields.caps import Caps
from gateway.api.fine_tuning.options import check_options
from gateway.errors import ApiError
from gateway.training.body import FIELDS, order_of
from gateway.training.models import Trainable
from registry.training.jobs import JobOrder
from registry.training.options import JobOptions, settled

BODIES = 3_000
SECTIONS = list(JobOptions.model_fields)
KEYS = [*FIELDS, *SECTIONS, "type", "supervised", "dpo", "wandb", "hyperparameters", "n_epochs", "beta", "project", "r"]
KEYS += ["tuning", "epochs", "max_steps", "batch_size", "learning_rate", "target_modules", "a[0].b", "", "\0", "ü" * 70]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    7,
    2**40,
    10**17,
    0.5,
    1e308,
    -0.0,
    "",
    "auto",
    "dpo",
    "supervised",
    "\0",
    "x",
]
VALUES += [
    "lora",
    "qlora",
    "full",
    "wandb",
    "tiny",
    "é" * 600,
    "16",
    "[]",
    [],
    {},
    [[]],
    [None],
    ["q_proj"],
    {"r": "16"},
]


def anything(chance: random.Random, depth: int = 3) -> Any:
    kind = chance.random()
    if depth == 0 or kind < 0.5:
        return chance.choice(VALUES)
    if kind < 0.6:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(3))]
    return {chance.choice(KEYS): anything(chance, depth - 1) for _ in range(chance.randrange(4))}


def body_of(chance: random.Random) -> dict[str, Any]:
    """Mostly sound, with a few fields that may be anything."""
    body: dict[str, Any] = {"model": "tiny", "training_file": "file-1"}
    for _ in range(chance.randrange(1, 4)):
        body[chance.choice([*FIELDS])] = anything(chance)
    if chance.random() < 0.5:
        name = chance.choice(SECTIONS)
        shape: Any = JobOptions.model_fields[name].annotation
        fields = list(getattr(shape, "model_fields", {})) or [""]
        body["switchyard"] = {name: {chance.choice(fields): anything(chance, 1)}}
    if chance.random() < 0.3:
        body["metadata"] = {f"switchyard.{chance.choice(KEYS)}.{chance.choice(KEYS)}": chance.choice(["1", "{", "x"])}
    return body


@pytest.mark.parametrize("seed", range(3))
def test_any_body_is_an_order_that_can_be_trained_or_a_refusal(seed: int) -> None:
    chance = random.Random(seed)
    outcomes = [outcome(orjson.loads(orjson.dumps(body_of(chance)))) for _ in range(BODIES // 3)]
    refusals = [one for one in outcomes if isinstance(one, ApiError)]
    assert {one.status for one in refusals} == {400}
    assert all(one.param is not None and one.code is not None and len(one.message) < 4_000 for one in refusals)
    orders = [one for one in outcomes if isinstance(one, JobOrder)]
    assert len(orders) > 10
    for order in orders:
        settled(order, rows=100)


def outcome(body: dict[str, Any]) -> JobOrder | ApiError:
    try:
        order = order_of(body, "acme", Caps(), lambda _: Trainable("tiny", None), None)
        check_options(order)
    except ApiError as refusal:
        return refusal
    return order
