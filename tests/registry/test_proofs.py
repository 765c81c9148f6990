"""Effect proofs of versions: published with them or attached later, laid out for gateways, looked at by promotes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.adapters.effect_proof import EFFECT_PROOF_FILE, Probe, parse_proof, proof_bytes, read_proof, write_proof
from registry.adapters.version_rows import VersionInfo
from registry.errors import AdapterRefused, InvalidInput, RegistryError
from registry.names import AdapterRef, parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.swaps.infos import DONE
from tests.support.adapter_folders import VOCAB, TinyBase, write_adapter

FIRST = parse_ref("acme/triage@1.0")


def probes(effect: float = 1.5) -> tuple[Probe, ...]:
    return (Probe((3, 5, 7, 11), (1, 3), (-2.0, -3.0), (-2.0 + effect, -3.0)),)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.bases.register("tiny", TinyBase().write(tmp_path / "tiny"))
        registry.tenants.create("acme")
        yield registry


def publish(registry: Registry, folder: Path) -> VersionInfo:
    return registry.adapters.publish(tenant="acme", adapter="triage", folder=folder, base="tiny", lineage={}).version


@pytest.fixture
def imported(registry: Registry, tmp_path: Path) -> VersionInfo:
    """acme/triage@1.0, without a proof."""
    return publish(registry, write_adapter(tmp_path / "imported"))


def test_a_proof_attached_later_lies_in_the_folder_that_engines_were_given(
    registry: Registry, imported: VersionInfo
) -> None:
    folder = registry.version_files.materialise(imported.manifest_digest)
    assert read_proof(folder) is None
    proven = registry.adapters.attach_proof(FIRST, proof_bytes(probes()))
    assert proven.manifest_digest == imported.manifest_digest
    assert registry.version_files.materialise(imported.manifest_digest) == folder
    assert read_proof(folder) == parse_proof(proof_bytes(probes()))
    assert not (folder / EFFECT_PROOF_FILE).stat().st_mode & 0o222


def test_a_proof_reaches_hosts_that_have_the_folder_already_and_those_that_do_not(
    registry: Registry, imported: VersionInfo
) -> None:
    folder = registry.version_files.materialise(imported.manifest_digest)
    registry.adapters.attach_proof(FIRST, proof_bytes(probes()))
    (folder / EFFECT_PROOF_FILE).unlink()  # as on a host that laid the version out before
    assert read_proof(registry.version_files.materialise(imported.manifest_digest)) is not None
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()  # as on a host that never had it
    assert read_proof(registry.version_files.materialise(imported.manifest_digest)) is not None


def test_what_is_known_of_the_effect_is_shown_with_the_version(registry: Registry, imported: VersionInfo) -> None:
    assert imported.proof is None
    proof = registry.adapters.attach_proof(FIRST, proof_bytes(probes(effect=0.75))).proof
    assert proof is not None
    assert (proof.attached, proof.largest_effect, proof.noise, proof.indistinguishable) == (True, 0.75, 0.02, False)


def test_a_later_proof_takes_the_place_of_an_earlier_one(registry: Registry, imported: VersionInfo) -> None:
    registry.adapters.attach_proof(FIRST, proof_bytes(probes(effect=0.01)))
    again = registry.adapters.attach_proof(FIRST, proof_bytes(probes(effect=2.0)))
    assert again.proof is not None
    assert again.proof.largest_effect == 2.0
    found = read_proof(registry.version_files.materialise(imported.manifest_digest))
    assert found is not None
    assert found.largest_effect == 2.0


def test_a_version_that_was_published_with_a_proof_keeps_it(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "trained")
    write_proof(probes(), folder)
    version = publish(registry, folder)
    assert version.proof is not None
    assert not version.proof.attached
    with pytest.raises(InvalidInput, match="published with an effect proof, which is part of its bytes"):
        registry.adapters.attach_proof(FIRST, proof_bytes(probes(effect=9.0)))


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        proof_bytes((Probe((1, VOCAB), (1,), (-1.0,), (-2.0,)),)),
        proof_bytes((Probe((1, 2), (1,), (float("nan"),), (-2.0,)),)),
    ],
    ids=["no proof", "token of another vocabulary", "not a number"],
)
def test_what_engines_could_not_be_asked_is_not_attached(
    registry: Registry, imported: VersionInfo, data: bytes
) -> None:
    with pytest.raises(AdapterRefused, match="effect_proof_unreadable"):
        registry.adapters.attach_proof(FIRST, data)
    assert registry.adapters.get(FIRST).proof is None


def test_an_indistinguishable_version_is_promoted_only_when_that_is_allowed(
    registry: Registry, imported: VersionInfo
) -> None:
    registry.adapters.attach_proof(FIRST, proof_bytes(probes(effect=0.09)))
    with pytest.raises(InvalidInput, match=r"largest effect is 0\.090 nats, less than 5 times the noise") as refused:
        registry.swaps.request(FIRST, actor="test")
    assert "--allow-indistinguishable" in refused.value.message
    assert registry.swaps.pending() == []
    swap = registry.swaps.request(FIRST, actor="test", allow_indistinguishable=True)
    assert swap.detail["allowed_indistinguishable"] is True


def test_allowing_it_leaves_no_mark_on_a_version_that_has_an_effect(registry: Registry, imported: VersionInfo) -> None:
    registry.adapters.attach_proof(FIRST, proof_bytes(probes()))
    swap = registry.swaps.request(FIRST, actor="test", allow_indistinguishable=True)
    assert "allowed_indistinguishable" not in swap.detail


def test_an_import_that_brings_a_weak_proof_is_indistinguishable_too(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "weak")
    write_proof(probes(effect=0.0), folder)
    publish(registry, folder)
    with pytest.raises(InvalidInput, match="indistinguishable from its base"):
        registry.swaps.request(FIRST, actor="test")


def test_a_rollback_to_a_version_found_indistinguishable_meanwhile_is_not_held_up(
    registry: Registry, imported: VersionInfo, tmp_path: Path
) -> None:
    publish(registry, write_adapter(tmp_path / "second", config={"lora_alpha": 16}))
    for name in ("acme/triage@1.0", "acme/triage@1.1"):
        swap = registry.swaps.request(parse_ref(name), actor="test")
        registry.swaps.flip(swap.id)
        registry.swaps.advance(swap.id, DONE)
    registry.adapters.attach_proof(FIRST, proof_bytes(probes(effect=0.0)))
    back = registry.swaps.request_rollback(AdapterRef("acme", "triage", None, None), actor="test")
    assert back.to_version == "acme/triage@1.0"


def test_without_a_database_complete_folders_are_used_and_no_new_one_is_without_its_proof(
    registry: Registry, imported: VersionInfo, tmp_path: Path
) -> None:
    other = publish(registry, write_adapter(tmp_path / "second", config={"lora_alpha": 16}))
    folder = registry.version_files.materialise(imported.manifest_digest)
    registry.db.close()
    for file in (tmp_path / "state").glob("registry.db*"):
        file.write_bytes(b"this is a letter, not a database; " * 100)
    assert registry.version_files.materialise(imported.manifest_digest) == folder
    with pytest.raises(RegistryError, match="cannot be asked for an effect proof"):
        registry.version_files.materialise(other.manifest_digest)
