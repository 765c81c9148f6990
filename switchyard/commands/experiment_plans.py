"""Plans of experiments as they are given on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import InvalidInput

if TYPE_CHECKING:
    from registry.experiments.plan import Plan


def plan_of(file: Path | None, versions: list[str]) -> Plan:
    """The plan of a file with these versions, or of either alone. Raises `InvalidInput`."""
    from registry.experiments.plan import Plan

    document = {} if file is None else _toml(file)
    if versions:
        if "treatments" in document:
            raise InvalidInput(
                f"treatments are in {file} and on the command line; name the versions in one place", param="treatments"
            )
        document["treatments"] = versions
    elif "treatments" not in document:
        raise InvalidInput(
            "versions are missing; name what is tried, such as `switchyard experiments create acme/triage 1.1`",
            param="versions",
        )
    return Plan.of(document)


def _toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidInput(f"plan is {str(file)!r}, which cannot be read: {error.strerror}", param="plan") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"plan is {str(file)!r}, which is no TOML: {error}", param="plan") from None
