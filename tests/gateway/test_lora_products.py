"""A vLLM whose products of LoRA are called otherwise than those that ours stand for keeps its own."""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

import pytest

from gateway.engines.vllm import on_cpu


def vllms(**others: str) -> ModuleType:
    """vLLM's module of 0.32, but for the parameters of these products; "" for one that it lacks."""
    module = ModuleType("punica_cpu")
    for product, expected in on_cpu.PRODUCTS.items():
        name = product.__name__
        if parameters := others.get(name, ", ".join(expected)):
            exec(f"def {name}({parameters}): ...", vars(module))
    return module


def products_in(module: ModuleType) -> set[Any]:
    return {vars(module).get(product.__name__) for product in on_cpu.PRODUCTS}


def test_ours_stand_in_the_place_of_those_that_are_called_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    module = vllms()
    with caplog.at_level(logging.WARNING):
        on_cpu.put_in_place(module)
    assert products_in(module) == set(on_cpu.PRODUCTS)
    assert [one.getMessage() for one in caplog.records] == [on_cpu.SAID]


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"sgmv_expand_slice": ""}, "this one has no sgmv_expand_slice, as 0.32 has"),
        (
            {"bgmv_shrink": "output_tensor, inputs, lora_b_weights, lora_indices_tensor, scaling=1.0"},
            "its bgmv_shrink takes output_tensor, inputs, lora_b_weights, lora_indices_tensor, scaling, and that of "
            "0.32 inputs, lora_b_weights, output_tensor, lora_indices_tensor, scaling",
        ),
        (
            {"bgmv_expand": "inputs, lora_b_weights, output_tensor, lora_indices_tensor, add_inputs=True, *, pdl=0"},
            "its bgmv_expand takes inputs, lora_b_weights, output_tensor, lora_indices_tensor, add_inputs, pdl, and "
            "that of 0.32 inputs, lora_b_weights, output_tensor, lora_indices_tensor, add_inputs",
        ),
    ],
)
def test_a_vllm_with_others_keeps_all_of_its_own_and_its_log_says_why(
    caplog: pytest.LogCaptureFixture, others: dict[str, str], why: str
) -> None:
    module = vllms(**others)
    own = products_in(module)
    with caplog.at_level(logging.WARNING):
        on_cpu.put_in_place(module)
    assert products_in(module) == own
    assert [one.getMessage() for one in caplog.records] == [f"{on_cpu.SAID_OF_OTHERS}: {why}"]


def test_products_that_are_not_of_python_stay(caplog: pytest.LogCaptureFixture) -> None:
    module = vllms()
    vars(module)["bgmv_shrink"] = max
    with caplog.at_level(logging.WARNING):
        on_cpu.put_in_place(module)
    assert not products_in(module) & set(on_cpu.PRODUCTS)
    assert [one.getMessage() for one in caplog.records] == [
        f"{on_cpu.SAID_OF_OTHERS}: its bgmv_shrink does not say what it takes"
    ]


def test_a_vllm_that_has_its_products_elsewhere_serves_with_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm.lora.punica_wrapper", None)
    with caplog.at_level(logging.WARNING):
        on_cpu.begin()
    (said,) = caplog.records
    assert said.getMessage().startswith(f"{on_cpu.SAID_OF_OTHERS}: ")
