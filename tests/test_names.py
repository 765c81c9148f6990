"""References: what a client may write as `model`, and what each part may look like."""

from __future__ import annotations

import pytest

from registry.errors import InvalidInput
from registry.names import AdapterRef, VersionNumber, check_name, parse_ref

NUMBER = VersionNumber(1, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme/triage", AdapterRef("acme", "triage", None, "production")),
        ("acme/triage@1.10", AdapterRef("acme", "triage", NUMBER, None)),
        ("acme/triage@canary", AdapterRef("acme", "triage", None, "canary")),
        ("acme/triage@1", AdapterRef("acme", "triage", None, "1")),
        ("0/9-a@production", AdapterRef("0", "9-a", None, "production")),
        (f"{'t' * 63}/{'a' * 63}", AdapterRef("t" * 63, "a" * 63, None, "production")),
    ],
)
def test_a_reference_is_tenant_adapter_and_a_version_or_alias(text: str, expected: AdapterRef) -> None:
    assert parse_ref(text) == expected
    assert parse_ref(str(expected)) == expected


def test_inside_a_tenant_the_adapter_alone_is_enough() -> None:
    assert parse_ref("triage@1.10", tenant="acme") == AdapterRef("acme", "triage", NUMBER, None)
    assert parse_ref("globex/triage", tenant="acme").tenant == "globex"
    with pytest.raises(InvalidInput, match="names no tenant"):
        parse_ref("triage")


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "@", "acme/", "/triage", "acme//triage", "acme/triage/x", "Acme/triage", "acme/Triage", "acme/tri_age",
        "acme/triage@", "acme/triage@1.0@x", "acme/triage@Canary", "acme/triage@01.0", "acme/triage@1.0.0",
        "acme/triage@-1.0", "acme/triage@1.", "acme/triage\n", " acme/triage", "acme/triage@1.0 ", "../acme/triage",
        "acme/triage@1234567.0", "ácme/triage", "acme/triage@١.٠", f"{'t' * 64}/a", "acme/tri\0age",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_ref(text)
    assert refused.value.param in {"model", "alias"}


def test_a_long_bad_reference_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_ref("x" * 10_000 + "/y")
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("text", ["", "1", "1.0.0", "v1.0", "01.0", "1.00", "-1.0", "1.0 ", "1,0", "1234567.0"])
def test_a_version_number_is_two_plain_numbers(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"expected MAJOR\.MINOR") as refused:
        VersionNumber.parse(text)
    assert refused.value.param == "version"


def test_version_numbers_are_ordered_by_number() -> None:
    texts = ["1.0", "1.2", "1.10", "2.0", "10.0"]
    numbers = [VersionNumber.parse(text) for text in texts]
    assert sorted([numbers[2], numbers[4], numbers[0], numbers[3], numbers[1]]) == numbers
    assert [str(number) for number in numbers] == texts
    assert max(numbers) >= numbers[0]


def test_a_refused_name_says_which_field_it_is() -> None:
    assert check_name("a-1", "adapter") == "a-1"
    with pytest.raises(InvalidInput, match=r"^base is 'Big Model'") as refused:
        check_name("Big Model", "base")
    assert refused.value.param == "base"
