"""The script that measures a GPU: what it computes, tried on the CPU with a tiny shape; no GPU has run it in tests."""

from __future__ import annotations

import sys

import pytest

from examples.gpu_speed import SHAPES, flops_per_token, main, measure
from tests.support.method_parts import options

pytestmark = pytest.mark.training


def test_an_8b_shape_costs_about_six_flops_a_weight_or_four_for_lora() -> None:
    weights = 7_504_924_672  # of Llama 3.1 8B, without the embeddings that are looked up
    full = flops_per_token(weights, SHAPES["8b"], 2048, full=True)
    lora = flops_per_token(weights, SHAPES["8b"], 2048, full=False)
    assert full == pytest.approx(6 * weights, rel=0.05)
    assert full - lora == 2 * weights


def test_a_training_of_random_weights_is_measured() -> None:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = measure(SHAPES["tiny"], options(steps=4), 32, device)
    assert found["parameters"] == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 64 + 2 * 64) + 64 + 512 * 64
    assert found["tokens_per_second"] > 0


def test_without_a_gpu_the_script_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_speed"])
    assert main() == 1
    assert "there is no GPU here" in capsys.readouterr().err
