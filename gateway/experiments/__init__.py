"""Experiments as they are carried out: what is decided and when, and the child process that does the arithmetic.

file | what it does
---|---
`inference/` | what may be said of arms, on numpy; loaded by the child alone
`breaker.py` | failures that come too often to be chance, at once
`decisions.py` | plan, standing, clock → what follows, with figures and words; pure
`analyst.py`, `analysis.py` | the child: takes in what is new, values units that are mature, and writes where it stands
`asking.py` | the parent's side of it
"""
