"""Calibrations: adding one, and those that count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from registry.calibrations.rows import Calibration
from registry.db import Database, now_ms
from registry.shadows.consent import require_consent


@dataclass(frozen=True, slots=True)
class Ratio:
    """A baseline's tokens for each of ours, and its interval: decimal numbers in text."""

    ratio: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class CalibrationInfo:
    """One calibration."""

    tenant: str
    baseline: str
    own_model: str
    asked_model: str
    asked_at: str
    prompts: str
    pairs: int
    prompt: Ratio
    completion: Ratio
    spent_nano: int
    stopped: str
    """`tight`, `budget` or `prompts`: what ended it."""
    actor: str
    made_at_ms: int = 0
    """When it was stored."""


class Calibrations:
    """Of all tenants."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def require_consent(self, tenant: str) -> None:
        """Raise `InvalidInput` where the tenant has not consented to copies of its requests, `NotFound` for none."""
        with self._db.read() as session:
            require_consent(session, tenant)

    def add(self, info: CalibrationInfo) -> CalibrationInfo:
        """Store what one came to. Raises as `require_consent`."""
        at_ms = now_ms()
        with self._db.write() as session:
            require_consent(session, info.tenant, lock=True)
            row = Calibration(
                **{name: getattr(info, name) for name in _PLAIN},
                ratios={"prompt": _written(info.prompt), "completion": _written(info.completion)},
                made_at_ms=at_ms,
            )
            session.add(row)
            session.flush()
            return _info(row)

    def all(self, tenant: str | None = None) -> list[CalibrationInfo]:
        """The newest first."""
        query = select(Calibration).order_by(Calibration.id.desc())
        if tenant is not None:
            query = query.where(Calibration.tenant == tenant)
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(query)]

    def newest(self, baseline: str) -> Mapping[str, CalibrationInfo]:
        """Tenant → its newest one of a baseline."""
        query = select(Calibration).where(Calibration.baseline == baseline).order_by(Calibration.id)
        with self._db.read() as session:
            return {row.tenant: _info(row) for row in session.scalars(query)}


_PLAIN = tuple(
    name for name in CalibrationInfo.__dataclass_fields__ if name not in ("prompt", "completion", "made_at_ms")
)


def _written(ratio: Ratio) -> list[str]:
    return [ratio.ratio, ratio.low, ratio.high]


def _info(row: Calibration) -> CalibrationInfo:
    return CalibrationInfo(
        **{name: getattr(row, name) for name in _PLAIN},
        prompt=Ratio(*row.ratios["prompt"]),
        completion=Ratio(*row.ratios["completion"]),
        made_at_ms=row.made_at_ms,
    )
