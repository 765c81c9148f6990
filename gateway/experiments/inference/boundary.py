"""How far a sum of pseudo-outcomes strays by chance, at all times together: the normal mixture.

Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit theory and
asymptotic confidence sequences, Annals of Statistics 2024 (arXiv 2103.06476), theorem 2.2, and its one-sided form.

`spread` is the variance of one effective unit, `weight` how many effective units there are (the paper's t), and
`mixing` the paper's ρ². All are `Numbers`.
"""

from __future__ import annotations

import math

from gateway.experiments.inference.lanes import log, sqrt
from gateway.experiments.inference.values import Numbers

TUNED_ALPHA = 0.05


def mixing_for(tuned_for: float) -> float:
    """The ρ² with which the 95 % sequence is about narrowest after `tuned_for` effective units (equation 10 there)."""
    spent = -2 * math.log(TUNED_ALPHA)
    return (spent + math.log(spent + 1)) / tuned_for


def radius(spread: Numbers, weight: Numbers, mixing: float, alpha: float) -> Numbers:
    """Half of the width of the two-sided sequence of a mean."""
    grown = weight * mixing + 1
    return sqrt(2 * spread * grown * log(sqrt(grown) / alpha) / mixing) / weight


def radius_one_sided(spread: Numbers, weight: Numbers, mixing: float, alpha: float) -> Numbers:
    """How far below (or above) its estimate the one end of a one-sided sequence of a mean is."""
    grown = weight * mixing + 1
    return sqrt(2 * spread * grown * log(1 + sqrt(grown) / (2 * alpha)) / mixing) / weight


def log_e_value(distance: Numbers, spread: Numbers, weight: Numbers, mixing: float) -> Numbers:
    """The logarithm of the e-value against a mean that is `distance` from the estimate.

    It passes `log(1 / alpha)` where the mean leaves the two-sided sequence.
    """
    grown = weight * mixing + 1
    return distance**2 * weight**2 * mixing / (2 * spread * grown) - log(grown) / 2
