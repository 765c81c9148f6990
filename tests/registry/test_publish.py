"""Publishing: how versions are numbered, many publishers at once, and death at every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.errors import AdapterRefused, InvalidInput, NotFound
from registry.names import AdapterRef, VersionNumber
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.registry.conftest import TRIAGE, Shop
from tests.support.adapter_folders import write_adapter
from tests.support.publishing import KILLED

ROOT = Path(__file__).parents[2]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.publishing", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_the_first_version_is_1_0_and_each_publish_adds_to_minor(shop: Shop) -> None:
    assert [version.name for version in shop.versions(3)] == [
        "acme/triage@1.0",
        "acme/triage@1.1",
        "acme/triage@1.2",
    ]


def test_another_base_begins_the_next_major_and_going_back_begins_one_more(shop: Shop) -> None:
    numbers = [
        str(shop.publish(seed, base=base).version.version)
        for seed, base in enumerate(["tiny", "other", "other", "tiny", "tiny"])
    ]
    assert numbers == ["1.0", "2.0", "2.1", "3.0", "3.1"]


def test_numbers_are_ordered_as_numbers_and_not_as_text(shop: Shop) -> None:
    names = [version.name for version in shop.versions(11)]
    assert names[-1] == "acme/triage@1.10"
    assert [version.name for version in shop.registry.adapters.all("acme")] == names


def test_the_same_bytes_are_the_same_version(shop: Shop) -> None:
    first = shop.publish(1)
    again = shop.publish(1)
    assert (first.created, again.created) == (True, False)
    assert again.version == first.version
    assert len(shop.registry.adapters.all()) == 1


def test_the_same_bytes_for_another_base_or_adapter_are_another_version(shop: Shop) -> None:
    first = shop.publish(1).version
    other_base = shop.publish(1, base="other").version
    other_tenant = shop.publish(1, tenant="globex").version
    assert other_base.version == VersionNumber(2, 0)
    assert other_base.manifest_digest != first.manifest_digest
    assert other_tenant.manifest_digest == first.manifest_digest
    assert other_tenant.name == "globex/triage@1.0"


def test_the_base_may_be_named_by_its_digest(shop: Shop) -> None:
    digest = shop.registry.bases.get("tiny").digest
    assert shop.publish(1, base=digest).version.base_digest == digest


def test_a_version_keeps_facts_and_lineage(shop: Shop) -> None:
    shop.publish(1)
    version = shop.registry.adapters.get(AdapterRef("acme", "triage", VersionNumber(1, 0), None))
    assert version.facts["rank"] == 4
    assert version.lineage == {"source": "test"}
    assert version.aliases == ()
    assert version.quarantined is None


def test_only_the_published_files_are_kept(shop: Shop) -> None:
    folder = shop.make_adapter(1)
    (folder / "README.md").write_text("of no use to an engine")
    published = shop.publish(1).version
    laid_out = shop.registry.version_files.materialise(published.manifest_digest)
    assert sorted(path.name for path in laid_out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize("name", ["", "Triage", "tri_age", "-triage", "a/b", "x" * 64])
def test_a_bad_adapter_name_is_refused(shop: Shop, name: str) -> None:
    with pytest.raises(InvalidInput, match="adapter is") as refused:
        shop.publish(1, adapter=name)
    assert refused.value.param == "adapter"


def test_unknown_tenants_and_bases_are_told_with_the_remedy(shop: Shop) -> None:
    with pytest.raises(NotFound, match="switchyard tenants create nobody"):
        shop.publish(1, tenant="nobody")
    with pytest.raises(NotFound, match="switchyard base register"):
        shop.publish(1, base="nothing")
    assert shop.registry.adapters.all() == []


def test_a_refused_adapter_leaves_the_registry_as_it_was(registry: Registry, tmp_path: Path) -> None:
    revision = registry.db.catalog_revision()
    folder = write_adapter(tmp_path / "broken", config={"use_dora": True, "r": 4096})
    with pytest.raises(AdapterRefused) as refused:
        registry.adapters.publish(tenant="acme", adapter="triage", folder=folder, base="tiny", lineage={})
    assert len(refused.value.findings) >= 2
    assert registry.adapters.all() == []
    assert registry.db.catalog_revision() == revision
    assert [path for path in (registry.settings.state_dir / "blobs").rglob("*") if path.is_file()] == []


def test_threads_that_publish_at_once_get_consecutive_numbers(shop: Shop) -> None:
    for seed in range(8):
        shop.make_adapter(seed)
    with ThreadPoolExecutor(8) as pool:
        numbers = [published.version.version.minor for published in pool.map(shop.publish, range(8))]
    assert sorted(numbers) == list(range(8))


def test_threads_that_publish_the_same_bytes_create_one_version(shop: Shop) -> None:
    shop.make_adapter(1)
    with ThreadPoolExecutor(6) as pool:
        published = list(pool.map(lambda _: shop.publish(1), range(6)))
    assert sum(one.created for one in published) == 1
    assert {one.version.name for one in published} == {"acme/triage@1.0"}


def test_two_processes_that_publish_at_once_get_consecutive_numbers(
    database_url: str | None, state_dir: Path, make_adapter: Callable[[int], Path], tmp_path: Path
) -> None:
    folders = [make_adapter(seed) for seed in range(20)]
    processes = [start("many", state_dir, tmp_path / "go", *folders[half::2]) for half in range(2)]
    (tmp_path / "go").touch()
    names: list[str] = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        names += json.loads(output)
    assert sorted(names) == sorted(f"acme/triage@1.{minor}" for minor in range(20))


def test_a_publisher_that_is_killed_at_any_step_leaves_nothing_and_the_next_one_succeeds(
    state_dir: Path, make_adapter: Callable[[int], Path]
) -> None:
    process = start("dying", state_dir, make_adapter(1))
    output, _ = process.communicate(timeout=90)
    *deaths, last = [json.loads(line) for line in output.splitlines()]
    committed = [death["versions"] for death in deaths].index(1)
    before, after = deaths[:committed], deaths[committed:]
    revision = before[0]["revision"]
    nothing = {"status": KILLED, "adapters": 0, "versions": 0, "revision": revision, "integrity": "ok"}
    one = {"adapters": 1, "versions": 1, "revision": revision + 1, "integrity": "ok"}
    assert before == [nothing] * len(before)
    assert after == [{"status": KILLED, **one}] * len(after)
    assert last == {"status": 0, **one}
    assert len(before) >= 8 + 5, "the four blobs and the statements of the transaction were not all stepped through"
    with Registry.open(RegistrySettings(state_dir=state_dir)) as registry:
        version = registry.adapters.get(AdapterRef("acme", "triage", VersionNumber(1, 0), None))
        weights = registry.version_files.materialise(version.manifest_digest) / "adapter_model.safetensors"
        assert weights.read_bytes() == (make_adapter(1) / "adapter_model.safetensors").read_bytes()
        assert registry.adapters.history(TRIAGE) == []
        assert os.listdir(registry.settings.adapter_cache_dir) == [weights.parent.name]
