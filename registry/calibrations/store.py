"""Calibrations: adding one, and those that count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import select

from registry.calibrations.rows import Calibration
from registry.db import Database, now_ms
from registry.prices.baseline_infos import CALIBRATION
from registry.prices.baselines import Baselines
from registry.prices.price_log import PRICE_LOG, Said
from registry.prices.rows import BaselineLine
from registry.shadows.consent import require_consent
from registry.storage.blobs import canonical_json, digest_of


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
    """`tight`, `budget`, `prompts` (no more of them) or `shadow` (that has ended): what ended it."""
    actor: str
    made_at_ms: int = 0
    """When it was stored."""
    seq: int = 0
    """Its line of the price log, which has its digest."""


class Calibrations:
    """Of all tenants. Each has a line of the price log, so that a report by an earlier version says what it said."""

    def __init__(self, db: Database, baselines: Baselines) -> None:
        self._db = db
        self._baselines = baselines

    def require_consent(self, tenant: str) -> None:
        """Raise `InvalidInput` where the tenant has not consented to copies of its requests, `NotFound` for none."""
        with self._db.read() as session:
            require_consent(session, tenant)

    def add(self, info: CalibrationInfo) -> CalibrationInfo:
        """Store what one came to. Raises as `require_consent`, and `NotFound` for a baseline that is not in the log."""
        self._baselines.info(info.baseline)
        with self._baselines.locked() as session:
            require_consent(session, info.tenant, lock=True)
            stored = replace(info, made_at_ms=now_ms())
            line = PRICE_LOG.append(session, _line(stored), stored.made_at_ms)
            session.add(_row(stored, line.seq))
            return replace(stored, seq=line.seq)

    def all(self, tenant: str | None = None) -> list[CalibrationInfo]:
        """The newest first."""
        query = select(Calibration).order_by(Calibration.id.desc())
        if tenant is not None:
            query = query.where(Calibration.tenant == tenant)
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(query)]

    def newest(self, baseline: str, version: str | None = None) -> Mapping[str, CalibrationInfo]:
        """Tenant → its newest one of a baseline that a price version knows; without one, the newest there is.

        Raises `NotFound` for a version that never was.
        """
        query = select(Calibration).where(Calibration.baseline == baseline).order_by(Calibration.seq)
        with self._db.read() as session:
            if version is not None:
                query = query.where(Calibration.seq <= PRICE_LOG.seq_of(session, version))
            return {row.tenant: _info(row) for row in session.scalars(query)}

    def faults(self) -> list[str]:
        """Those that are not what the price log has the digest of, a sentence each; empty when nobody touched them."""
        with self._db.read() as session:
            rows = {row.seq: _info(row) for row in session.scalars(select(Calibration))}
            lines = session.scalars(select(BaselineLine).where(BaselineLine.field == CALIBRATION)).all()
        said = {line.seq: line.text for line in lines}
        return [
            f"the calibration of line {seq} of the price log is not what was stored"
            for seq in sorted(said.keys() | rows.keys())
            if seq not in rows or said.get(seq) != _line(rows[seq]).text
        ]


_PLAIN = tuple(name for name in CalibrationInfo.__dataclass_fields__ if name not in ("prompt", "completion", "seq"))


def _line(info: CalibrationInfo) -> Said:
    """What the price log says of it: whose it is, and the digest of all that is known of it."""
    known: dict[str, Any] = asdict(replace(info, seq=0))
    text = f"{info.tenant} {digest_of(canonical_json(known))}"
    return Said(info.baseline, CALIBRATION, info.made_at_ms, info.asked_at, "operator", text=text)


def _row(info: CalibrationInfo, seq: int) -> Calibration:
    ratios = {"prompt": _written(info.prompt), "completion": _written(info.completion)}
    return Calibration(**{name: getattr(info, name) for name in _PLAIN}, ratios=ratios, seq=seq)


def _written(ratio: Ratio) -> list[str]:
    return [ratio.ratio, ratio.low, ratio.high]


def _info(row: Calibration) -> CalibrationInfo:
    return CalibrationInfo(
        **{name: getattr(row, name) for name in _PLAIN},
        prompt=Ratio(*row.ratios["prompt"]),
        completion=Ratio(*row.ratios["completion"]),
        seq=row.seq,
    )
