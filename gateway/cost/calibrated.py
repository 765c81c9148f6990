"""Stored calibrations as reports take them. Without numpy, which making one needs (`calibration.py`)."""

from __future__ import annotations

from fractions import Fraction

from gateway.cost.assumptions import TokenRatio
from registry.calibrations.store import CalibrationInfo, Calibrations
from registry.days import as_datetime


def calibrated_ratios(calibrations: Calibrations, baseline: str, version: str) -> dict[str, TokenRatio]:
    """Tenant → how many tokens of the baseline one of its is, by the newest calibration that a price version knows."""
    return {tenant: token_ratio(info) for tenant, info in calibrations.newest(baseline, version).items()}


def token_ratio(info: CalibrationInfo) -> TokenRatio:
    """What a report takes of a stored calibration."""
    day = f"{as_datetime(info.made_at_ms):%Y-%m-%d}"
    return TokenRatio(
        Fraction(info.prompt.ratio),
        Fraction(info.completion.ratio),
        "calibrated",
        f"of {info.tenant} calibrated on {day} with {info.pairs} prompts that {info.asked_model} was asked too",
        (Fraction(info.prompt.low), Fraction(info.prompt.high)),
        (Fraction(info.completion.low), Fraction(info.completion.high)),
        info.seq,
    )
