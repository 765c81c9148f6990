"""What the pages of training have to show: a job that has made a version, with its curve, its quote and its data."""

from __future__ import annotations

from registry.training.jobs import JobOrder
from tests.support.stack import BASE, House
from tests.support.training_jobs import chat_rows
from tests.support.training_worker import FakeWorker

STEPS = 40
QUOTE = {
    "rows": 900,
    "heldout_rows": 100,
    "longest_row_tokens": 412,
    "truncated_rows": 0,
    "copies": 3,
    "heldout_rows_seen": 0,
    "steps": STEPS,
    "trained_tokens": 124_000,
    "parameters": 135_000_000,
    "trainable_parameters": 2_400_000,
    "memory": {"total": 3 * 2**30},
    "fits": True,
    "findings": [{"level": "warn", "code": "copies", "lines": [4, 9], "text": "3 rows are copies of others"}],
    "time": {"seconds": 180.0},
    "cost_usd": "0.04",
    "assumptions": ["2 cores"],
}
TRUTH = {
    "steps": {"quoted": STEPS, "actual": STEPS, "ratio": 1.0},
    "seconds": {"quoted": 180.0, "actual": 196.0, "ratio": 1.09},
}


def train_version(house: House) -> None:
    """acme has had one made of its tickets."""
    registry, worker = house.registry, FakeWorker(house)
    file = registry.files.create("acme", "tickets-november.jsonl", "fine-tune", [chat_rows(1_000).encode()])
    registry.training.create(
        JobOrder(
            tenant="acme", model=BASE, base=BASE, training_file=file.id, suffix="tickets", metadata={"team": "care"}
        )
    )
    evaluation = {"adapter": {"loss": 1.25}, "base": {"loss": 3.5}}
    worker.succeed(
        worker.train(STEPS, detail={"quote": QUOTE, "quote_against_actual": TRUTH, "evaluation": evaluation})
    )
