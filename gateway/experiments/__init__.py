"""Experiments as they are carried out: what is decided and when, and the child process that does the arithmetic.

file | what it does
---|---
`inference/` | what may be said of arms, on numpy; loaded by the child and by commands alone
`metric_states.py`, `comparing.py` | each metric of a plan, arm against control, as units become mature
`breaker.py` | failures that come too often to be chance, at once
`analysis.py`, `history.py` | all that is folded of one experiment, written and read; its sequence for plots
`standing.py` | what an analysis has found, as figures that decisions are made of
`decisions.py` | plan, standing, course, clock → what follows, with figures and words; pure
`deciding.py` | has it carried out by the leader, in one transaction
`analyst.py`, `asking.py` | the child: takes in what is new, values units that are mature; the parent's side of it
`replay.py`, `forecast.py` | decisions made again from stored units; a plan simulated before it runs
`shadow/` | copies of requests to a candidate, and what differs between both answers
"""
