"""Who is compared: a version, and what it must be better than. And the key that both are asked with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.adapters.version_rows import VersionInfo
from registry.errors import InvalidInput, NotFound
from registry.names import PRODUCTION, AdapterRef, VersionNumber
from registry.service import Registry
from registry.storage.blobs import digest_of
from trainer.evaluation.comparison import Extras, Side, is_extra
from trainer.evaluation.general import GENERAL_AGREEMENT, GENERAL_LOSS, PROMPTS, read_prompts
from trainer.evaluation.metrics import JSON_SCHEMA, SIMPLE, Metric, metric_named

BASE = "base"
"""What an adapter is compared with that has no version in production: its base model, by the same prompt."""
DEFAULT_METRIC = "label_exact"
KEY_LABEL = "evaluation"


def side_of(version: VersionInfo) -> Side:
    """A version by its own name. Raises `InvalidInput` for one that no engine may have."""
    if version.quarantined:
        raise InvalidInput(f"{version.name} is quarantined: {version.quarantined}", param="candidate")
    return Side(version.name, version.manifest_digest, version.base_digest)


def incumbent_of(registry: Registry, candidate: VersionInfo, against: str = PRODUCTION, *, required: bool) -> Side:
    """What `against` names: an alias, a version's number, or "base".

    Where it is not there the base takes its place, unless it is `required`: then `NotFound` is raised. Raises
    `InvalidInput` when it is the candidate itself.
    """
    if against == BASE:
        return _base_side(registry, candidate)
    ref = AdapterRef(candidate.tenant, candidate.adapter, *_version_or_alias(against))
    try:
        found = registry.adapters.get(ref)
    except NotFound:
        if required:
            raise
        return _base_side(registry, candidate)
    if found.id == candidate.id:
        raise InvalidInput(
            f"{candidate.name} is what {ref} means: there is nothing to compare; name another version with --against, "
            "or --against base"
        )
    return side_of(found)


def metrics_of(registry: Registry, candidate: VersionInfo, alias: str, asked: Sequence[str]) -> list[str]:
    """What is measured: what is asked for and what the alias's gate needs; without either the metric that the version
    was trained by, else whether answers are the same.
    """
    ref = AdapterRef(candidate.tenant, candidate.adapter, candidate.version, None)
    policy = registry.gates.policy(ref, alias)
    named = dict.fromkeys([*asked, *(policy.metrics if policy is not None else ())])
    if named:
        return list(named)
    trained_by = candidate.lineage.get("evaluation")
    metric = trained_by.get("metric") if isinstance(trained_by, dict) else None
    return [metric if isinstance(metric, str) and metric in SIMPLE else DEFAULT_METRIC]


def ordinary(names: Sequence[str]) -> tuple[Metric, ...]:
    """Those of the metrics that are of the rows. Raises EvaluationError for a name that no metric has."""
    return tuple(metric_named(name) for name in names if not is_extra(name))


def extras_of(
    registry: Registry, candidate: VersionInfo, named: Sequence[str], *, general: Path | None = None
) -> Extras:
    """What is measured besides the rows: general prompts, where a metric is of them or `general` names some."""
    extra = tuple(name for name in named if is_extra(name))
    wanted = general or (PROMPTS if {GENERAL_LOSS, GENERAL_AGREEMENT} & set(extra) else None)
    base = registry.bases.get(candidate.base_digest).name
    settings: dict[str, Any] = {"schemas": schemas} if (schemas := _schemas(named)) else {}
    if wanted is None:
        return Extras(extra, base=base, settings=settings)
    prompts = read_prompts(wanted)
    return Extras(extra, general=prompts.rows, base=base, settings={**settings, "general": prompts.digest})


def _schemas(named: Sequence[str]) -> dict[str, str]:
    """By metric, the digest of its schema: a file of the same name may be another one tomorrow."""
    files = {name: Path(name.removeprefix(JSON_SCHEMA)) for name in named if name.startswith(JSON_SCHEMA)}
    return {name: digest_of(file.read_bytes()) for name, file in files.items() if file.is_file()}


def _version_or_alias(text: str) -> tuple[VersionNumber | None, str | None]:
    return (VersionNumber.parse(text), None) if text[:1].isdigit() and "." in text else (None, text)


def _base_side(registry: Registry, candidate: VersionInfo) -> Side:
    return Side(registry.bases.get(candidate.base_digest).name, None, candidate.base_digest)


@contextmanager
def key_of(registry: Registry, tenant: str, actor: str) -> Iterator[str]:
    """The secret of a key of the tenant that is made for this and revoked at the end, whatever happens."""
    key = registry.tenants.create_key(tenant, label=KEY_LABEL, scopes=("inference", "base"), actor=actor)
    try:
        registry.wait_until_served()
        yield key.secret
    finally:
        registry.tenants.revoke_key(key.id, actor=actor)
