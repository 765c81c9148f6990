"""The picture of docs/statistics.md: `python -m tests.bars.support.experiments.figure docs/sequence.svg`.

One simulated experiment whose arms are the same, with the interval of a single planned look and with the sequence.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from gateway.experiments.inference.means import LEAST_UNITS, MeanDifference

UNITS, EVERY, RATE, ALPHA, Z, SEED = 10_000, 50, 0.6, 0.05, 1.959964, 12
EVEN = (0.5, 0.5)
FIXED, SEQUENCE = "#D55E00", "#0072B2"
"""Of Okabe and Ito's palette, which people with any colour blindness can tell apart."""


def looks(seed: int = SEED) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rows of units, estimate, half of the fixed interval's width and half of the sequence's, in points."""
    chance, state, rows = np.random.default_rng(seed), MeanDifference.start(span=1.0), []
    for number in range(1, UNITS + 1):
        state = state.fold(int(chance.random() < EVEN[1]), EVEN, float(chance.random() < RATE))
        if number % EVERY == 0 and number > LEAST_UNITS:
            found, contrast = state.interval(ALPHA), state.contrasts[1]
            fixed = Z * (float(contrast.spread(1.0)) / float(contrast.weight)) ** 0.5
            rows.append([number, float(found.estimate), fixed, float(found.high) - float(found.estimate)])
    return np.array(rows) * [1, 100, 100, 100]


def draw(file: Path) -> None:
    """Write it as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    units, estimate, fixed, sequence = looks().T
    wrong = units[np.abs(estimate) > fixed]
    with mpl.rc_context({"svg.hashsalt": "switchyard", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 4), facecolor="white", layout="constrained")
        axis = figure.subplots()
        axis.fill_between(units, estimate - sequence, estimate + sequence, color=SEQUENCE, alpha=0.2, linewidth=0)
        axis.plot(units, estimate - sequence, color=SEQUENCE, label="confidence sequence: true at all looks together")
        axis.plot(units, estimate + sequence, color=SEQUENCE)
        axis.plot(units, estimate - fixed, color=FIXED, linestyle="--", label="95 % interval of one planned look")
        axis.plot(units, estimate + fixed, color=FIXED, linestyle="--")
        axis.plot(units, estimate, color="black", linewidth=1, label="difference so far")
        axis.plot(wrong, np.zeros(len(wrong)), "|", color=FIXED, markersize=12, label="looks at which it finds one")
        axis.axhline(0, color="#595959", linewidth=1)
        axis.set(xlabel="units", ylabel="B less A, points", ylim=(-12, 12), xlim=(0, UNITS))
        axis.set_title("Two arms that are the same, looked at every 50 units", fontsize=10)
        axis.legend(fontsize=8, loc="lower right")
        figure.savefig(file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
