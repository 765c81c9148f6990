"""Salts of splits."""

from __future__ import annotations

import secrets


def new_salt() -> str:
    """128 random bits in 22 characters: with the NUL behind it and a unit of 32 characters, as derived ones have, that
    makes 55 bytes, which are the most that SHA-256 takes in one block.
    """
    return secrets.token_urlsafe(16)
