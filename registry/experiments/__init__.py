"""Experiments: a policy on an alias that decides, step by step, how much of its traffic another version gets.

An experiment owns a chain of splits (`splits.experiment_id`) with one salt, so that its ramp only ever moves units from
the control to a treatment. Whatever moves traffic is an ordinary swap; the experiment's state changes in the
transaction in which the swap flips, so that it says what routes. A decision is a row of a log that nobody can change.
"""
