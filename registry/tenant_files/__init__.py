"""What tenants have uploaded, and what was made for them to download: `/v1/files` in the database and the blob store.

* A file is one or more parts, each the bytes of one request; a part is pieces of `pieces.PIECE_BYTES`, sealed one by
  one under names of their own. So memory stays flat, and no two tenants ever share bytes: deletion needs no counting.
* The row of a part is there before its first piece and goes after its last: whatever dies in between leaves a row that
  says what is to be removed. The row of the file comes with the last one: a file is whole or not there.
* What clients wrote, names of files too, is in sealed columns and pieces alone (`registry.responses.sealing`).
"""
