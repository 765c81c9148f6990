"""What prompts and answers look like in the database: readable for nobody without the key, and bound to their place."""

from __future__ import annotations

import base64
import os
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard
from pydantic import ValidationError
from sqlalchemy import text

from gateway.api.dialects import DIALECTS
from gateway.api.dialects.responses.document import Document, usage_of
from gateway.api.fields.caps import Caps
from gateway.handoffs import EngineCount
from registry.errors import InvalidInput
from registry.responses.sealing import LEVEL, SHORT_BYTES, Keyring, Unreadable
from registry.responses.vocabulary import VOCABULARY
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.registry.test_responses import EVER, MiB, said, save, turn
from tests.support.admitted import admitted

SECRET = b"my parcel is late"
PLACE = ("resp_1", "turn")


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def test_what_was_sealed_opens_with_the_same_key_and_is_not_in_the_bytes() -> None:
    keys = key()
    for keyring in (Keyring(None), Keyring(keys)):
        sealed = keyring.seal(SECRET, "acme", *PLACE)
        assert keyring.open(sealed, "acme", *PLACE) == SECRET
    assert SECRET not in Keyring(keys).seal(SECRET, "acme", *PLACE)
    assert Keyring(keys).open(Keyring(keys).seal(SECRET, "acme", *PLACE), "acme", *PLACE) == SECRET


def test_long_values_are_compressed() -> None:
    assert len(Keyring(key()).seal(SECRET * 1_000, "acme", *PLACE)) < 200


def test_a_short_response_is_half_as_long_as_zstd_alone_would_make_it() -> None:
    asked = DIALECTS["responses"].parse(b'{"model":"triage","input":"Hello"}', caps=Caps(), allow_unknown=False)
    said = b'[{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],'
    said += b'"logprobs":[],"text":"Your parcel is late, and we are sorry for that."}],"role":"assistant"}]'
    value = Document(admitted(asked)).ended("completed", said, usage_of(admitted(asked), EngineCount(), None))
    sealed = Keyring(None).seal(value, "acme", *PLACE)
    assert len(sealed) < len(zstandard.compress(value, LEVEL)) / 2
    assert Keyring(None).open(sealed, "acme", *PLACE) == value


@pytest.mark.parametrize("length", [0, 1, SHORT_BYTES, SHORT_BYTES + 1, 1_000_000])
@pytest.mark.parametrize("keys", [None, base64.b64encode(b"k" * 32).decode()])
def test_values_of_every_length_open(length: int, keys: str | None) -> None:
    value = (VOCABULARY * (1 + length // len(VOCABULARY)))[:length]
    sealed = Keyring(keys).seal(value, "acme", *PLACE)
    assert Keyring(keys).open(sealed, "acme", *PLACE) == value
    assert Keyring(keys).open_bounded(sealed, length, "acme", *PLACE) == value


def test_what_is_sealed_can_be_opened_in_years() -> None:
    assert sha256(VOCABULARY).hexdigest() == "091d1af38bacfdb2494e1af3a5c29aa5218cc4246e00e687f1483d69e202c0ce", (
        "what was sealed with these words opens with them alone: add another vocabulary, with a mark of its own"
    )
    without_words = b"\0" + zstandard.compress(SECRET)
    assert Keyring(None).open(without_words, "acme", *PLACE) == SECRET
    assert Keyring(None).is_current(without_words)


@pytest.mark.parametrize("sealed", [b"", b"\4", b"\xff" * 40, b"\2", b"\3", b"\2no frame"])
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    for keyring in (Keyring(None), Keyring(key())):
        with pytest.raises(Unreadable):
            keyring.open(sealed, "acme", *PLACE)
        with pytest.raises(Unreadable):
            keyring.open_bounded(sealed, 100, "acme", *PLACE)


def test_the_same_value_never_looks_the_same_twice() -> None:
    keyring = Keyring(key())
    assert keyring.seal(SECRET, "acme", *PLACE) != keyring.seal(SECRET, "acme", *PLACE)


@pytest.mark.parametrize(("tenant", "place"), [("globex", PLACE), ("acme", ("resp_2", "turn")), ("acme", ("resp_1",))])
def test_a_value_that_was_moved_to_another_place_does_not_open(tenant: str, place: tuple[str, ...]) -> None:
    keyring = Keyring(key())
    with pytest.raises(Unreadable, match="is not what was written there"):
        keyring.open(keyring.seal(SECRET, "acme", *PLACE), tenant, *place)


def test_a_value_that_was_changed_does_not_open() -> None:
    for keyring in (Keyring(key()), Keyring(None)):
        sealed = keyring.seal(SECRET, "acme", *PLACE)
        with pytest.raises(Unreadable):
            keyring.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "acme", *PLACE)


def test_a_new_key_writes_and_the_old_one_still_reads() -> None:
    old, new = key(), key()
    before = Keyring(old).seal(SECRET, "acme", *PLACE)
    both = Keyring(f"{new},{old}")
    assert both.open(before, "acme", *PLACE) == SECRET
    assert not both.is_current(before)
    after = both.seal(SECRET, "acme", *PLACE)
    assert both.is_current(after)
    assert Keyring(new).open(after, "acme", *PLACE) == SECRET
    with pytest.raises(Unreadable, match="which is not in SWITCHYARD_STORE_KEY; add it behind the first one"):
        Keyring(new).open(before, "acme", *PLACE)
    with pytest.raises(Unreadable, match="which is not in SWITCHYARD_STORE_KEY"):
        Keyring(None).open(before, "acme", *PLACE)


def test_what_was_written_without_a_key_is_read_only_where_that_is_said() -> None:
    plain = Keyring(None).seal(SECRET, "acme", *PLACE)
    keys = key()
    with pytest.raises(Unreadable, match="add `,plain` to SWITCHYARD_STORE_KEY until `switchyard responses reseal`"):
        Keyring(keys).open(plain, "acme", *PLACE)
    assert Keyring(f"{keys},plain").open(plain, "acme", *PLACE) == SECRET


BAD = ["", "short", "plain", "plain,{key}", "{key},{key}x", "é" * 44, base64.b64encode(b"k" * 31).decode()]


@pytest.mark.parametrize("given", BAD)
def test_a_bad_key_is_a_sentence_with_the_remedy_and_without_the_key(given: str) -> None:
    given = given.replace("{key}", key())
    with pytest.raises(InvalidInput, match="openssl rand -base64 32") as refused:
        Keyring(given)
    assert refused.value.param == "store_key"
    assert not given or given in ("short", "plain") or given not in refused.value.message
    with pytest.raises(ValidationError, match="openssl rand -base64 32"):
        RegistrySettings(store_key=given)


def test_no_word_of_a_client_or_a_model_is_in_the_database(state_dir: Path) -> None:
    settings = RegistrySettings(state_dir=state_dir, store_key=key())
    with Registry.open(settings) as registry:
        save(registry, turn("resp_1", items=[said("SECRETQUESTION")], unit="SECRETUNIT"))
        made = registry.conversations.create("acme", [said("SECRETITEM")], {"about": "SECRETMETADATA"})
        save(registry, turn("resp_2", conversation_id=made.id, items=[said("SECRETTURN")]))
        assert registry.responses.recall("acme", "resp_1", EVER, MiB).unit == "SECRETUNIT"
        stored = b"".join(path.read_bytes() for path in state_dir.rglob("*") if path.is_file())
    assert b"resp_1" in stored
    assert b"SECRET" not in stored.replace(b"msg_SECRET", b"")


def test_sealing_anew_moves_everything_to_the_first_key(registry: Registry) -> None:
    made = registry.conversations.create("acme", [said(str(number)) for number in range(3)], {})
    save(registry, *(turn(f"resp_{number}", conversation_id=made.id) for number in range(3)))
    first, second = key(), key()
    for keys in (f"{first},plain", f"{second},{first}"):
        moved = _opened_with(registry, keys)
        assert moved.retention.reseal() == 3 + 1 + 9
        assert moved.retention.reseal() == 0
    only = _opened_with(registry, second)
    assert len(only.responses.items("acme", "resp_2", EVER)) == 1
    assert len(only.conversations.recall("acme", made.id, EVER, MiB).items) == 9
    with registry.db.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM responses")).scalar_one() == 3


def _opened_with(registry: Registry, keys: str) -> Registry:
    other = Registry(registry.settings.model_copy(update={"store_key": keys}))
    vars(other)["db"] = registry.db
    return other
