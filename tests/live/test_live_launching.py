"""FSDP over two processes of this machine's CPU, each of which imports everything: too slow for the trainer's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.method_parts import Noting, options, rows
from tests.support.tiny_base import write_tiny_base
from trainer.forward import token_logprobs
from trainer.methods.launching import launch
from trainer.methods.loading import load_base
from trainer.methods.training import train

FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
num_processes: 2
num_machines: 1
machine_rank: 0
use_cpu: true
mixed_precision: 'no'
main_process_port: 0
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_offload_params: false
  fsdp_cpu_ram_efficient_loading: false
"""


def test_two_processes_that_share_the_weights_make_what_one_makes(tmp_path: Path) -> None:
    config, base = tmp_path / "accelerate.yaml", write_tiny_base(tmp_path / "tiny-llama")
    config.write_text(FSDP)
    given, watch, alone = rows(valid=4), Noting(), Noting()
    both = launch(config, load_base(base), given, options(steps=3, training={"batch_size": 2}), watch, None)
    one = train(load_base(base), given, options(steps=3, training={"batch_size": 4}), alone)
    assert watch.losses == pytest.approx(alone.losses, abs=1e-3)
    assert watch.valid_losses == pytest.approx(alone.valid_losses, abs=1e-3)
    assert (both.steps, both.trained_tokens) == (one.steps, one.trained_tokens)
    text = [[40, 41, 42, 50, 257]]
    assert token_logprobs(both.model, text)[0] == pytest.approx(token_logprobs(one.model, text)[0], abs=0.02)
