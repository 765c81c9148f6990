"""Operators' keys: who may see and order things at `/admin/v1` beside the holder of the root key.

A key has a name, a role and perhaps an end; its hash is in the catalog, so that a request asks no database who comes.
"""
