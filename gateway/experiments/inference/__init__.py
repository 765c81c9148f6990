"""What may be said of arms at any time, however often one looks: pure functions on numpy that know nothing of ours.

A *unit* (a conversation) is folded once, in the order in which units are mature. Every state is a frozen dataclass:
`start(…)`, `.fold(arm, shares, value)` for the next one, `.interval(alpha)`, `.written()` and `read(…)` as a document.
Its numbers are floats, or arrays with one number a simulated run (a *lane*): simulations run the same lines.

file | what it answers
---|---
`means.py` | by how much do means differ (`MeanDifference`), in a ramp too
`ratios.py` | by how many percent do means, or ratios of means, differ (`RatioDifference`)
`quantiles.py` | by how much do quantiles differ, such as P95 (`QuantileDifference`)
`pairs.py` | who wins pairs (`PairWins`)
`sample_ratio.py` | did arms get the units that were planned (`SampleRatio`)
`several.py` | what is left of alpha where there are several questions (`shared_alpha`)
`verdicts.py` | what it means, in words

Nothing is imported here, so that words and types cost no numpy.
"""
