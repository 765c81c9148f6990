"""What gateways must know, in one object that never changes, and how they learn what changed.

* SQL (SQLite in WAL mode by default). A transaction that writes rows which the catalog shows raises its revision when
  it commits, and stores the names of what changed beside it (`registry/catalog/changes.py` finds them in the rows, so
  no writer can forget). Every worker polls the revision twice a second and reads what those names stand for. History
  and money tables refuse UPDATE and DELETE by trigger.
"""
