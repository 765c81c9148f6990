"""The usage journal: what happened is on disk before a client has its last byte, and in SQL soon after.

* The usage journal: one line per record, one `write()` each, in segments of a chain for each life of a worker
  (`gateway/journal/segments.py`). What the rows of one key, model and engine have in common is their *kind*
  (`gateway/journal/rows.py`), declared once in every segment and named by its records, so that a request takes 220
  bytes and a segment can be read alone. A line has its number and a checksum, a segment ends with its counts, a
  digest, and the digest of the one before: what is lost or altered in the middle is named. A thread syncs it and
  ships it to SQL, keyed by attempt id, in small steps with pauses, because the event loop needs the interpreter; a
  segment is removed when the ledger has its rows and an entry with its counts. What dead workers left is taken over
  under their files' locks, at a start and then every second: an intent without an end is marked `lost`, and the chain
  is ended. A row that SQL can never take is a fault of its segment, which is kept, and holds up nothing. Every 10 ms
  a request looks whether the segment still lies there and is no shorter than what was written
  (`gateway/journal/mending.py`); one that was removed is written again from the open file, one that was cut short is
  rewritten with what is left (the writer knows its header and kinds by heart), ended, and followed by another. What
  is overwritten in place with as many bytes is noticed by checksums, by the shipper if it has not read that part yet,
  else by `verify`. `switchyard ledger verify` proves files against themselves, rows (by count, sums and a digest of
  all their columns) against entries, and the chains.
* No room, no ledger: intents are refused (503 `metering_unavailable`) while the disk is full or more than
  `SWITCHYARD_JOURNAL_MAX_UNSHIPPED_BYTES` wait for the database. What had begun ends: its settle record waits in
  memory for room, at most one for each request in flight. The same while the segment that is written to has been
  removed or moved away, which is looked at a hundred times a second: its file is still open, so the shipper writes it
  again where it was, and only a `kill -9` before that loses what was not shipped.
"""
