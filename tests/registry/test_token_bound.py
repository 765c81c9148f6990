"""No text becomes more tokens than a base's bound says, whatever its tokenizer, by the library's own count."""

from __future__ import annotations

import base64
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from gateway.fleet.sources import declared_base
from registry.bases.files import find_files
from registry.bases.normalization import growth
from registry.bases.rows import BaseModel
from registry.bases.store import TOKENS
from registry.bases.token_bound import UNKNOWN, TokenBound
from registry.bases.tokenizer_bound import bound_of, of_document, of_sentencepiece
from registry.bases.tokenizer_steps import UnknownStep
from tests.support.adapter_folders import TinyBase
from tests.support.stack import BASE, House

BYTES = {char: number for number, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
FALLBACK = {f"<0x{number:02X}>": number for number in range(256)}
QWEN_SPLIT = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def on_bytes(normalizer: Any = None, *, prefix: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=BYTES, merges=[]))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    split = pre_tokenizers.Split(QWEN_SPLIT, "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    return tokenizer


def gpt2() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=BYTES, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def like_qwen() -> Tokenizer:
    tokenizer = on_bytes(normalizers.NFC())
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<tool_call>"])
    return tokenizer


def like_llama2() -> Tokenizer:
    vocab = {"<unk>": 0, "<s>": 1, **{piece: number + 2 for piece, number in FALLBACK.items()}, "▁": 258, "a": 259}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens(["<s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def without_its_space() -> Tokenizer:
    """Where even what stands for a space falls back to bytes."""
    tokenizer = Tokenizer(
        models.BPE(vocab={"<unk>": 256, **FALLBACK}, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


FALLBACK_PIECES = [(piece, -9.0) for piece in FALLBACK]


def like_xlm(charsmap: bytes) -> Tokenizer:
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("a", -3.0), *FALLBACK_PIECES]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def like_bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##a": 2, "[CLS]": 3, "[SEP]": 4}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    return tokenizer


def with_short_special_tokens() -> Tokenizer:
    tokenizer = gpt2()
    tokenizer.add_tokens([AddedToken("x", normalized=False), AddedToken("yz", special=True)])
    return tokenizer


def composed(form: str) -> Tokenizer:
    return on_bytes(getattr(normalizers, form)())


@cache
def measured(name: str) -> TokenBound:
    return of_document(json.loads(TOKENIZERS[name]().to_str()))


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "none": on_bytes,
    "qwen": like_qwen,
    **{form: partial(composed, form) for form in ("NFC", "NFD", "NFKC", "NFKD")},
    "lower": lambda: on_bytes(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])),
    "accents": lambda: on_bytes(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])),
    "twice": lambda: on_bytes(normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(), normalizers.NFC()])),
    "replaced": lambda: on_bytes(normalizers.Sequence([normalizers.Replace("ab", "long text"), normalizers.NFC()])),
    "replaced by pattern": lambda: on_bytes(normalizers.Replace(Regex("[0-9]"), "ﷺ")),
    "between": lambda: on_bytes(normalizers.Replace(Regex("(?=a)"), "++")),
    "prefix before each piece": lambda: on_bytes(prefix=True),
    "prefix": gpt2,
    "short": with_short_special_tokens,
    "llama2": like_llama2,
    "space": without_its_space,
    "bert": like_bert,
}


def _odd_texts(seed: int) -> Iterator[str]:
    """What changes most, alone and after one another, and what stands between special tokens."""
    chars = [chr(code) for code in (*range(0x20, 0xD800), *range(0xE000, 0x30000))]
    moving = [
        char
        for char in chars
        if unicodedata.decomposition(char) or unicodedata.combining(char) or char.lower() != char or char == "İ"
    ]
    yield from (
        "",
        " ",
        "a",
        "  a  a",
        "\u0fb9" * 50,
        "\U0001d160" * 50,
        "ﷺ" * 50,
        "가" * 50,
        "İ" * 50,
        "ȺȾ" * 20,
        "ᾂ\u0323" * 20,
    )
    yield from (
        "ab" * 20,
        "0123456789",
        "a" * 50,
        "x" * 50,
        "xa" * 50,
        "yzayzb",
        "<s>a<s>a</s>b",
        "<|im_start|>\u0fb9<|im_end|>",
    )
    draw = random.Random(seed)
    yield from (char + draw.choice(moving) for char in moving)
    for _ in range(2_000):
        yield "".join(draw.choice(draw.choice((moving, chars, [*"a x0 yz▁<s>"]))) for _ in range(draw.randrange(1, 9)))


@cache
def odd_texts() -> dict[str, int]:
    """Each with the bytes by which composing makes it longer."""
    return {text: growth([text]) for text in _odd_texts(1)}


def exceeding(tokenizer: Tokenizer, bound: TokenBound) -> list[str]:
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast([*odd_texts()])]
    return [
        ascii(text)
        for (text, more), count in zip(odd_texts().items(), counts, strict=True)
        if count > bound.most(len(text.encode()) + (more if bound.composes else 0), 1)
    ]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_text_becomes_more_tokens_than_its_bound(name: str) -> None:
    assert exceeding(TOKENIZERS[name](), measured(name)) == []


def test_where_a_text_does_the_bound_is_found_wanting() -> None:
    bytes_alone = TokenBound(composes=False)
    assert exceeding(like_qwen(), bytes_alone)
    assert exceeding(on_bytes(normalizers.NFD()), TokenBound())


def test_bounds_are_no_looser_than_they_must_be() -> None:
    found = {name: measured(name) for name in TOKENIZERS}
    assert found["none"] == TokenBound(composes=False)
    assert found["qwen"] == TokenBound()
    assert found["NFKC"] == TokenBound()
    assert found["NFD"] == TokenBound(3.0, composes=False)
    assert found["NFKD"] == TokenBound(11.0, composes=False)
    assert found["lower"] == TokenBound(1.5)
    assert found["prefix"] == TokenBound(composes=False, per_text=1)
    assert found["llama2"] == TokenBound(composes=False, per_text=3)
    assert found["bert"].per_byte <= 1.5


def test_the_rules_of_sentencepiece_are_read_and_bound() -> None:
    sentencepiece: Any = import_module("sentencepiece")
    rules = Path(sentencepiece.__file__).parent / "package_data"
    for name in ("nmt_nfkc", "nmt_nfkc_cf"):
        tokenizer = like_xlm((rules / f"{name}.bin").read_bytes())
        bound = of_document(json.loads(tokenizer.to_str()))
        assert exceeding(tokenizer, bound) == []
        assert bound.composes
        assert bound.per_byte == (1.0 if name == "nmt_nfkc" else 1.5)


def _varint(value: int) -> bytes:
    return bytes((value & 0x7F | 0x80, value >> 7)) if value > 0x7F else bytes((value,))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def test_sentencepieces_own_file_is_read() -> None:
    pieces = b"".join(_field(1, _field(1, piece.encode())) for piece in ("<unk>", "a", "b"))
    falls_back = _field(2, _varint(35 << 3) + b"\1")
    assert of_sentencepiece(pieces + falls_back) == TokenBound(3.0, composes=False, per_text=5)
    assert of_sentencepiece(pieces) == TokenBound(composes=False, per_text=3)
    assert of_sentencepiece(b"IQ== 0\nIg== 1\n") == TokenBound(composes=False, per_text=2)
    with pytest.raises(ValueError, match="protocol buffer"):
        of_sentencepiece(b"\xff" * 40)


@pytest.mark.parametrize(
    "document",
    [
        {"model": {"type": "Morphemes", "vocab": {}}},
        {"model": {"type": "BPE", "vocab": {}}, "normalizer": {"type": "Rot13"}},
        {
            "model": {"type": "BPE", "vocab": {}},
            "normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "a"},
        },
    ],
)
def test_what_is_not_known_is_not_guessed(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnknownStep):
        of_document(document)
    base = TinyBase()
    base.tokenizer = document
    found = bound_of(find_files(base.write(tmp_path)))
    assert (found.per_byte, found.composes, found.known_from) == (UNKNOWN.per_byte, True, "unknown")
    assert found.template_bytes == len("{{ x }}")


def test_damaged_rules_are_unknown(tmp_path: Path) -> None:
    for rules in (b"\0", b"\xff\xff\xff\xff", b"\4\0\0\0\0\1\0\0"):
        base = TinyBase()
        text = base64.b64encode(rules).decode()
        base.tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": text}
        assert bound_of(find_files(base.write(tmp_path / rules.hex()))).known_from == "unknown"


def test_a_base_of_an_older_installation_holds_as_an_unknown_one_until_its_folder_is_at_hand(house: House) -> None:
    registry = house.registry
    known = registry.bases.get(BASE)
    assert known.tokens == TokenBound(template_bytes=len("{{ x }}"))
    assert registry.catalog().bases[BASE].tokens == known.tokens
    with registry.db.write() as session:
        row = session.get_one(BaseModel, known.digest)
        row.spec = {name: value for name, value in row.spec.items() if name != TOKENS}
    old = registry.bases.get(BASE)
    assert old.tokens is None
    assert registry.catalog().bases[BASE].tokens == UNKNOWN
    away = house.base_folder.rename(house.folder / "away")
    assert registry.measured(old).tokens is None
    away.rename(house.base_folder)
    assert declared_base(registry, None).tokens == known.tokens
    assert registry.catalog().bases[BASE].tokens == known.tokens


def test_files_without_tokenizer_json_are_known_by_their_kind(tmp_path: Path) -> None:
    folder = TinyBase().write(tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("")
    assert bound_of(find_files(folder)).known_from == "tokenizer"
    assert bound_of(find_files(folder)).composes
    (folder / "tekken.json").write_text("{}")
    assert not bound_of(find_files(folder)).composes
