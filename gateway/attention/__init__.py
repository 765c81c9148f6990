"""What needs a person's decision, found anew each time that somebody asks: from the controller's knowledge, the
catalog, and small tables. Attempts are never read one by one; of the ledger only sums by day are.

A source is a function that yields `Item`s. One that cannot be asked, as its database is away, is an item itself.
"""
