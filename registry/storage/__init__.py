"""Bytes: blobs by content, and what is read of files from strangers.

* Blobs by SHA-256, then the manifest, then one SQL transaction: until it commits nothing refers to the bytes. An
  effect proof that is measured after the publish (`adapters prove`) is a blob of its own, tied to the manifest by a
  row and laid into the version's folder; the version's bytes stay as they are.
"""
