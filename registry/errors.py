"""Every error that the registry raises, and nothing else raises.

    RegistryError
    ├── InvalidInput          a field is wrong; names the field, the value and the remedy
    ├── NotFound              no such tenant, adapter, version, alias, base model, key
    ├── Conflict              somebody was first: name taken, or the compare-and-swap lost
    │   ├── Stale             the caller said what it had read, and it is not so any more
    │   └── GateClosed        a gate is set, and no certificate of this version against what is in production passed it
    ├── AdapterRefused        `inspect` found what vLLM cannot serve, or cannot serve rightly
    └── CorruptBlob           stored bytes do not match their digest

Callers translate at one door each: the gateway to HTTP (`gateway.api.error_handlers`), the CLI to a line and a status.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


def first_line(error: BaseException) -> str:
    """The first line of what an error says, for a sentence of ours; its kind where it says nothing, as many of the
    system's do.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class RegistryError(Exception):
    """Root of the tree. `param` is the name of the field at fault, when there is one."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidInput(RegistryError):
    """A value that the caller gave cannot be accepted."""


class NotFound(RegistryError):
    """The named thing does not exist, or is not this tenant's to see."""


class Conflict(RegistryError):
    """The state changed since the caller read it, or the name is taken."""


class Stale(Conflict):
    """The caller named the state that it had read (`If-Match`), and it is another one now."""


class GateClosed(Conflict):
    """An alias may not point there yet; the message says what is missing and how it is made."""


class CorruptBlob(RegistryError):
    """Bytes in object storage do not hash to their name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for which an adapter is refused.

    `code` is stable and machine-readable (`shape_mismatch`); `file` is relative to the adapter's folder;
    `tensor` is the full tensor name when one is at fault; `found` and `expected` are short texts.
    """

    code: str
    file: str
    found: str
    expected: str
    tensor: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}: {self.tensor}" if self.tensor else self.file
        return f"[{self.code}] {where}: found {self.found}; expected {self.expected}"

    def as_dict(self) -> dict[str, str | None]:
        """The finding as JSON-ready fields."""
        return asdict(self)


class AdapterRefused(RegistryError):
    """The adapter would harm the engine, serve garbage, or silently do nothing. Carries every finding."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first = str(findings[0])
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"adapter refused: {first}{more}", param="adapter")
        self.findings = findings
