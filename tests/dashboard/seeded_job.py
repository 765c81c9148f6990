"""What the pages of training have to show: a job that has made a version, with its curve, its quote and its data."""

from __future__ import annotations

from sqlalchemy import update

from registry.db import now_ms
from registry.training.jobs import JobOrder
from registry.training.rows import TrainingEvent, TrainingJobRow
from tests.support.stack import BASE, House
from tests.support.training_jobs import chat_rows
from tests.support.training_worker import FakeWorker

STEPS, TRAINED_MS = 40, 196_000
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
    "seconds": {"quoted": 180.0, "actual": TRAINED_MS / 1000, "ratio": 1.09},
}


def train_version(house: House) -> None:
    """acme has had one made of its tickets: the only job that there is."""
    registry, worker = house.registry, FakeWorker(house)
    file = registry.files.create("acme", "tickets-november.jsonl", "fine-tune", [chat_rows(1_000).encode()])
    registry.training.create(
        JobOrder(
            tenant="acme",
            model=BASE,
            base=BASE,
            training_file=file.id,
            suffix="tickets",
            adapter="tickets",
            metadata={"team": "care"},
        )
    )
    evaluation = {"adapter": {"loss": 0.07}, "base": {"loss": 2.9}}
    job = worker.train(STEPS, detail={"quote": QUOTE, "quote_against_actual": TRUTH, "evaluation": evaluation})
    with registry.db.write() as session:  # it began as long ago as it says that it took
        began_ms = now_ms() - TRAINED_MS
        times = {"created_at_ms": began_ms, "started_at_ms": began_ms}
        session.execute(update(TrainingJobRow).where(TrainingJobRow.id == job.id).values(times))
        session.execute(update(TrainingEvent).values(created_at_ms=began_ms))
    worker.succeed(job)
