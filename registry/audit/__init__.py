"""The audit log: what operators order, by the admin API or a command that writes the registry, and what it changed.

An order is a line before it is carried out, a line in each transaction that changes rows for it, and a line with its
outcome. A process that dies in between leaves an order without an outcome, never a change without an order. Lines are
only appended, and chained by digests. What tenants order of their own is none of it.

`order` is what an order is and knows no table; `changes` makes documents of rows, without secrets; `log` appends and
proves; `store` reads.
"""
