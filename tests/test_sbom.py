"""What images are made of is written down, whole and in a form that can be checked."""

from __future__ import annotations

import pytest

from tests.sbom import LOCKS, PAGE, document_of, licence_of, locked, page
from tests.support.on_demand import CYCLONEDX


@pytest.mark.parametrize("lock", LOCKS)
def test_the_document_of_an_image_has_every_package_of_its_lock_with_hashes(lock: str) -> None:
    CYCLONEDX.make()
    components = document_of(lock)["components"]
    assert {one["name"]: one["version"] for one in components} == locked(lock)
    for one in components:
        (distribution,) = one["externalReferences"]
        assert {found["alg"] for found in distribution["hashes"]} == {"SHA-256"}


def test_the_page_of_licences_is_that_of_the_locks() -> None:
    assert PAGE.read_text() == page(), "run `make sbom`"


def test_every_package_of_the_gateways_image_states_its_licence() -> None:
    assert [name for name in locked("gateway") if licence_of(name) is None] == []
