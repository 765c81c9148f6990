"""Base models, known by the digest of what they compute, not by the files they lie in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.bases.files import find_files
from registry.bases.fingerprint import Fingerprint, read_fingerprint
from registry.bases.model import BaseSpec, describe_base, known_folders
from registry.bases.rows import BaseModel
from registry.bases.token_bound import UNKNOWN, TokenBound
from registry.bases.tokenizer_bound import bound_of
from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.names import MAX_NAME_LENGTH, check_name

FINGERPRINT, TOKENS = "fingerprint", "tokens"
"""Keys in the row's `spec` document, beside the fields of `BaseSpec`."""


@dataclass(frozen=True, slots=True)
class BaseInfo:
    """A registered base model under its public name."""

    name: str
    digest: str
    spec: BaseSpec
    created_at_ms: int
    fingerprint: Fingerprint | None
    """What an engine of this base must answer; `None` as long as nobody has measured it."""
    tokens: TokenBound | None = None
    """How many tokens its tokenizer makes at most; likewise."""


class BaseModels:
    """The base models that adapters may be published for."""

    def __init__(self, db: Database, cache: Path) -> None:
        self._db = db
        self._cache = cache

    def register(self, name: str, folder: Path) -> BaseInfo:
        """Take the model in `folder` under a public name; doing it again is no error, and renews what is measured.

        Raises `InvalidInput` when the folder holds no servable model and `Conflict` when the name or the
        model is registered otherwise.
        """
        check_name(name, "base")
        spec = describe_base(folder, cache=self._cache)
        tokens = bound_of(find_files(folder))
        with self._db.write() as session:
            row = BaseModel(digest=spec.digest, name=name, spec=spec.to_json(), created_at_ms=now_ms())
            if not session.add_new(row):
                row = _known(session, name, spec.digest)
            fingerprint = read_fingerprint(folder, spec.vocab_size)
            if fingerprint is not None and fingerprint != _info(row).fingerprint:
                row.spec = {**row.spec, FINGERPRINT: fingerprint.to_json()}
            if tokens.to_json() != row.spec.get(TOKENS):
                row.spec = {**row.spec, TOKENS: tokens.to_json()}
            return _info(row)

    def measured(self, name: str, fingerprint: Fingerprint) -> BaseInfo:
        """Enter what a registered base was found to answer, instead of what is known. Raises `NotFound`, and
        `InvalidInput` for token ids that are not the base's.
        """
        known = self.get(name)
        try:
            fingerprint.require_tokens_of(known.spec.vocab_size)
        except ValueError as error:
            raise InvalidInput(f"these are not answers of base {name!r}: {error}", param="base") from error
        with self._db.write() as session:
            row = _known(session, known.name, known.digest)
            row.spec = {**row.spec, FINGERPRINT: fingerprint.to_json()}
            return _info(row)

    def adopt(self, folder: Path) -> BaseInfo:
        """The registry's entry for the model in `folder`: a known model keeps its name, a new one gets the folder's.

        What the folder has and the registry lacks is taken with it: a fingerprint, and what its tokenizer does.
        """
        try:
            known = self.find(folder)
        except NotFound:
            name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:MAX_NAME_LENGTH]
            return self.register(name or "base", folder)
        there = read_fingerprint(folder, known.spec.vocab_size)
        lacks = known.fingerprint is None or known.fingerprint.renderings is None
        if known.tokens is None or (lacks and there is not None and there != known.fingerprint):
            return self.register(known.name, folder)
        return known

    def find(self, folder: Path) -> BaseInfo:
        """The registered base that the folder holds, under whatever name. Raises `NotFound`."""
        return self.get(describe_base(folder, cache=self._cache).digest)

    def folders_of(self, digest: str, among: Iterable[Path] = ()) -> Iterator[Path]:
        """All such folders, the older acquaintances first."""
        for folder in dict.fromkeys((*known_folders(self._cache, digest), *among)):
            try:
                if describe_base(folder, cache=self._cache).digest == digest:
                    yield folder
            except InvalidInput:  # it is gone, or holds no model any more
                continue

    def all(self) -> list[BaseInfo]:
        """All base models by name."""
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(select(BaseModel).order_by(BaseModel.name))]

    def get(self, name_or_digest: str) -> BaseInfo:
        """By public name or digest; raises `NotFound`."""
        with self._db.read() as session:
            row = session.scalars(
                select(BaseModel).where((BaseModel.name == name_or_digest) | (BaseModel.digest == name_or_digest))
            ).one_or_none()
            if row is None:
                raise NotFound(
                    f"there is no base model {name_or_digest!r}; "
                    "register it with `switchyard base register NAME FOLDER`",
                    param="base",
                )
            return _info(row)


def _known(session: Session, name: str, digest: str) -> BaseModel:
    """The row of this name and digest, locked. Raises `Conflict` when one of them is another's."""
    rows = session.scalars(
        select(BaseModel).where((BaseModel.name == name) | (BaseModel.digest == digest)).with_for_update()
    ).all()
    for row in rows:
        if row.digest != digest:
            raise Conflict(
                f"base {name!r} is another model ({row.digest[:19]}…, not {digest[:19]}…); "
                "register this one under another name",
                param="base",
            )
    (row,) = rows
    if row.name != name:
        raise Conflict(f"this model is registered already, as {row.name!r}", param="base")
    return row


def tokens_of(spec: Mapping[str, Any]) -> TokenBound:
    """What a row's `spec` says of the tokenizer: `UNKNOWN` when nobody has measured it."""
    return TokenBound.from_json(spec.get(TOKENS)) or UNKNOWN


def longest_rendering(spec: Mapping[str, Any]) -> int:
    """Tokens of the longest rendering in a row's `spec`; 0 when nobody has taken any."""
    renderings = (spec.get(FINGERPRINT) or {}).get("renderings") or ()
    return max((len(rendering["token_ids"]) for rendering in renderings), default=0)


def _info(row: BaseModel) -> BaseInfo:
    document = dict(row.spec)
    fingerprint, tokens = document.pop(FINGERPRINT, None), TokenBound.from_json(document.pop(TOKENS, None))
    return BaseInfo(
        row.name,
        row.digest,
        BaseSpec.from_json(document),
        row.created_at_ms,
        Fingerprint.from_json(fingerprint) if fingerprint else None,
        tokens,
    )
