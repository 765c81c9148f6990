"""How things are called: `tenant/adapter@version`, `tenant/adapter@alias`, `tenant/adapter` (= `@production`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from registry.errors import InvalidInput

MAX_NAME_LENGTH = 63
NAME = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{MAX_NAME_LENGTH - 1}}}")
VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
PRODUCTION = "production"
SYSTEM = "_system"
"""Under this name, which no tenant can have, what the fleet asks engines itself is booked."""
MAX_EXTERNAL_MODEL_LENGTH = 256


def check_name(value: str, param: str) -> str:
    """Return `value` if it is a legal tenant, adapter, alias or base name; raise `InvalidInput` otherwise."""
    if NAME.fullmatch(value):
        return value
    raise InvalidInput(
        f"{param} is {value[:80]!r}; a name has 1 to 63 characters a-z, 0-9 and '-', and begins with a letter or digit",
        param=param,
    )


@total_ordering
@dataclass(frozen=True, slots=True)
class VersionNumber:
    """`MAJOR.MINOR`; MAJOR changes when the base model's digest does, MINOR with every other publish."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def __lt__(self, other: VersionNumber) -> bool:
        return (self.major, self.minor) < (other.major, other.minor)

    @classmethod
    def parse(cls, text: str) -> VersionNumber:
        """Read `"1.0"`; raises `InvalidInput` for anything else."""
        match = VERSION.fullmatch(text)
        if match is None:
            raise InvalidInput(f"version is {text[:40]!r}; expected MAJOR.MINOR, such as 1.0", param="version")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """A parsed reference. Exactly one of `version` and `alias` is set."""

    tenant: str
    adapter: str
    version: VersionNumber | None
    alias: str | None

    @property
    def adapter_name(self) -> str:
        """`tenant/adapter`."""
        return f"{self.tenant}/{self.adapter}"

    def __str__(self) -> str:
        return f"{self.adapter_name}@{self.version or self.alias}"


def parse_ref(text: str, *, tenant: str | None = None) -> AdapterRef:
    """Read `tenant/adapter[@version|@alias]`; with `tenant` given the short `adapter` works too.

    Raises `InvalidInput` (param `model`) when the text is no reference.
    """
    path, at, suffix = text.partition("@")
    owner, slash, adapter = path.rpartition("/")
    if not slash:
        if tenant is None:
            raise InvalidInput(f"{text[:80]!r} names no tenant; write tenant/adapter[@version]", param="model")
        owner = tenant
    if not (NAME.fullmatch(owner) and NAME.fullmatch(adapter)):
        raise InvalidInput(
            f"{text[:80]!r} is not a model reference; expected tenant/adapter, tenant/adapter@1.0 "
            "or tenant/adapter@alias in lower case",
            param="model",
        )
    if not at:
        return AdapterRef(owner, adapter, None, PRODUCTION)
    if VERSION.fullmatch(suffix):
        return AdapterRef(owner, adapter, VersionNumber.parse(suffix), None)
    return AdapterRef(owner, adapter, None, check_name(suffix, "alias"))


def served_version(name: str) -> AdapterRef | None:
    """The version that a usage row's public name is of, `None` for a base. For rows from before they had ids."""
    try:
        ref = parse_ref(name)
    except InvalidInput:
        return None
    return None if ref.version is None else ref


def parse_whole_adapter(name: str) -> AdapterRef:
    """Read `tenant/adapter` where a version or alias after it would be lost without a word. Raises `InvalidInput`."""
    if "@" in name:
        raise InvalidInput(
            f"{name[:80]!r} has an '@'; write tenant/adapter alone, and the alias, if one is meant, as --alias",
            param="adapter",
        )
    return parse_ref(name)
