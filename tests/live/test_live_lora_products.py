"""Our products of LoRA on a CPU are vLLM's own, but for tokens that have no adapter."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.engines.vllm import on_cpu

SLOTS, RANK, INPUTS, OUTPUTS = 4, 16, 24, 40
BATCHES = {
    "one adapter": [2] * 7,
    "one token": [1],
    "prompts of three adapters": [0, 0, 0, 3, 3, 1, 1, 1, 1],
    "one adapter's prompts around another's": [2, 2, 0, 0, 2, 2, 2],
    "a token of each in turn": [0, 1, 2, 3, 0, 1, 2, 3],
}


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    """The file alone: its package takes many seconds to import."""
    package = importlib.util.find_spec("vllm")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "lora" / "ops" / "torch_ops" / "lora_ops.py"
    spec = importlib.util.spec_from_file_location("lora_ops", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(*shape: int) -> Any:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def sequences(slots: list[int]) -> tuple[Any, ...]:
    """Where they begin, their lengths and slots, and as many numbers as vLLM says beside them."""
    import torch

    found, lengths = torch.unique_consecutive(torch.tensor(slots), return_counts=True)
    return lengths.cumsum(0) - lengths, lengths, found, len(found), int(lengths.max()), len(slots)


def outcomes(module: Any, slots: list[int]) -> dict[str, Any]:
    """What each product makes of the same numbers."""
    import torch

    tokens, stretches, count = torch.tensor(slots), sequences(slots), len(slots)
    a, b = drawn(SLOTS, 1, RANK, INPUTS), drawn(SLOTS, 1, OUTPUTS // 2, RANK)
    made = {
        "bgmv_shrink": torch.zeros(count, RANK),
        "sgmv_shrink": torch.zeros(count, RANK),
        **{name: drawn(count, OUTPUTS) for name in ("bgmv_expand", "bgmv_expand_slice", "sgmv_expand", "sets")},
        "sgmv_expand_slice": drawn(count, OUTPUTS),
    }
    module.bgmv_shrink(drawn(count, INPUTS), a, made["bgmv_shrink"], tokens, 2.0)
    module.sgmv_shrink(drawn(count, INPUTS), a, made["sgmv_shrink"], *stretches, 2.0)
    module.bgmv_expand(drawn(count, RANK), b, made["bgmv_expand"], tokens, add_inputs=True)
    module.bgmv_expand(drawn(count, RANK), b, made["sets"], tokens, add_inputs=False)
    module.sgmv_expand(drawn(count, RANK), b, made["sgmv_expand"], *stretches, True)
    for name, where in (("bgmv_expand_slice", (tokens,)), ("sgmv_expand_slice", stretches)):
        getattr(module, name)(drawn(count, RANK), b, made[name], *where, OUTPUTS // 4, OUTPUTS // 2, True)
    return made


@pytest.mark.parametrize("batch", BATCHES)
def test_they_come_to_what_vllms_own_come_to(theirs: ModuleType, batch: str) -> None:
    ours, expected = (outcomes(module, BATCHES[batch]) for module in (on_cpu, theirs))
    for name, numbers in expected.items():
        assert ours[name].flatten().tolist() == pytest.approx(numbers.flatten().tolist(), abs=1e-4), name


def test_tokens_without_an_adapter_are_left_as_they_are() -> None:
    slots = [-1, 2, 2, -1, 0]
    made, others = outcomes(on_cpu, slots), outcomes(on_cpu, [1, 2, 2, 1, 0])
    for name, numbers in made.items():
        untouched = drawn(*numbers.shape) if "expand" in name or name == "sets" else numbers * 0
        for token, slot in enumerate(slots):
            assert numbers[token].equal((untouched if slot < 0 else others[name])[token]), name


def test_all_that_an_engine_on_a_cpu_multiplies_by_is_ours(theirs: ModuleType) -> None:
    named = {name for name in vars(theirs) if name.startswith(("bgmv_", "sgmv_"))}
    assert {product.__name__ for product in on_cpu.PRODUCTS} == named
    assert on_cpu.unfit(theirs) is None
