"""What tenants, keys and adapters may use: rates, concurrency, budgets, and how several processes share them.

* Tariff and limits. A price is a dated row for a base, a tenant or an adapter (the most particular counts), in whole
  nano-dollars per million tokens, refused by trigger to be edited; it takes the place of those of its scope that
  would begin no earlier, so a price that has not begun can be put right; `usage.cost_nano` is what an attempt cost
  when it ended, rounded once. What failed on our side costs nothing; what has no price is NULL and never 0, and a
  tenant with a dollar budget is not served it. Counters live in the process: rates are GCRA, budgets are UTC days and
  months that begin from the ledger's sums. Clocks jump: windows that were left are kept for three days
  (`gateway/limits/windows.py`), a window of which the ledger was not asked yet lets nothing through, and a request's
  attempts are booked on the day on which it held, by a clock that does not jump. A hold bounds what is spent (prompt:
  every byte of the body counts as a token, with what Unicode normalisation adds (`registry/bases/normalization.py`),
  tools once more as templates print them, and what the template says by itself, known from the renderings; answers:
  `max_tokens` × n, where the P99 of the model's answers stands for one that is missing:
  `gateway/limits/output_lengths.py`), so that a budget is never overshot; near its end, requests that could still
  have been paid are told to try again, and prompts are counted by an engine that is going to serve them
  (`gateway/limits/prompt_tokens.py`).
* Limits of several processes (`gateway/limits/lending.py`). An account is one limit of one scope. A budget, or places
  for requests, is a *cap*: each process has an allowance, and all allowances together are at most the limit. A
  process states absolutely what it uses and wants (a message that is lost or comes twice does no harm), and lowers
  its allowance before it says so. Of a *rate*, units are taken out of one bucket and given back. The lender is the
  controller's memory (`Pool`), or a Valkey with the same as one script (`pool.lua`): one contract test holds for
  both. A request waits for it only when its process has too little; four times a second what idles goes back. Who has
  spent what is known by the writer of the journal, so a lender that begins anew is seeded from the ledger, listens
  for a second to those whom another one has lent to, and lends then; what a killed process had been lent stays set
  apart until its journal is in the ledger. The lender away: `limits_fail_open` decides whether a process refuses what
  it was not lent, or makes a pool of its own.
* Soft limits (`gateway/limits/warnings.py`). Every worker looks at its counters once a second; a crossing is a row
  that is inserted once, and whoever takes the row up delivers it.
"""
