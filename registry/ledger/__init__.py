"""What was used: rows that never change, differences to them, and their sums.

* The usage record (`registry/ledger/usage_record.py`) states every column once; journal, table, sums, reports and
  exports are made from it.
* Usage by day (`registry/ledger/usage_days.py`): one row for a day, writer, tenant, key, served model, adapter, split,
  arm and outcome, which triggers add to in the transaction that books attempts and corrections, whoever books them.
  Usage reports, the cost report and budgets read these sums; what a window has of a day's edge is summed row by row.
  For a month of a million attempts a budget is read in 0.02 s and not in 7. `ledger verify` holds the sums against the
  rows, `ledger resum` makes them anew.
* Corrections (`ledger correct`) are rows with differences, which sums include; no usage row ever changes.
* What the ledger cannot know. vLLM says what it generated with every event of a stream, and of an answer in one piece
  only at its end. So an aborted stream is booked up to its last event (`partial`); an unstreamed request whose client
  goes, whose engine dies or that times out is booked with a guess of its prompt (`estimated`) and no output: what was
  generated for it is in the engine's counters alone, where `ledger reconcile` shows the sum. To stream from the
  engine behind every unstreamed answer would tell, and would change how log-probabilities, tool calls and refusals
  come; it was left out (2026-11-28).
"""
