"""Attempts that are too old to be asked for every day, in files of the object storage.

* One file holds attempts of one UTC day, with their corrections, as Parquet: at most `archiving.MOST_ROWS` of them. Its
  name ends in digits of its digest, so that who archives the same again, after a kill or beside another one, writes the
  same file.
* Rows leave the table `usage` in one transaction only: that which records a file (`UsageArchive`) that was read back,
  value for value, and whose sums are those of the rows that go. Triggers refuse every other removal. Before that
  transaction nothing is gone, after it nothing is there twice.
* A record keeps the file's sums by day, and of each journal segment how many rows of it are in the file and their
  digest. So `ledger verify` and `ledger resum` hold sums by day and segments against rows and records together, without
  a file; that each file is what its record says, is proven by reading it.
* Sums by day stay, and so do reports of whole days. Who needs rows asks DuckDB, in a process of its own (`reading.py`):
  it gets the registry's own query, so that no formula is written twice. No process that serves loads it.
* What is brought back is in the table again, its record says so, and it is left there for a while.
"""
