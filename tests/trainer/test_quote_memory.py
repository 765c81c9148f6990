"""Parameters and memory, held against transformers, PEFT and torch themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_base import write_tiny_base
from trainer.errors import BaseModelError
from trainer.quote.known import CONFIGS, SHORT, find_shape
from trainer.quote.memory import Load, layer_activation_bytes, memory, trainable_parameters
from trainer.quote.shapes import Shape, lora_parameters, read_shape, shape_of

PUBLISHED = {"8b": 8_030_261_248, "70b": 70_553_706_496, "405b": 405_853_388_800, "13b": 13_015_864_320}
"""Parameters of Llama 3.1 and of Llama 2 13B as their model cards' safetensors say."""
SMALL = {
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
    "pad_token_id": 0,
}


def small_model(kind: str, **more: Any) -> tuple[Any, Shape]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **{**SMALL, **more})
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config), shape_of(config.to_dict(), kind)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_parameters_of_published_models_are_counted_exactly(name: str) -> None:
    assert find_shape(name).parameters == PUBLISHED[name]


@pytest.mark.training
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        ("mistral", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("gemma", {}),
        ("gemma2", {}),
        ("gemma3_text", {}),
        ("phi3", {}),
        ("smollm3", {}),
    ],
)
def test_by_its_settings_alone_a_model_has_the_parameters_that_transformers_gives_it(
    kind: str, more: dict[str, Any], tmp_path: Path
) -> None:
    model, shape = small_model(kind, **more)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    model.save_pretrained(tmp_path)
    read = read_shape(tmp_path)
    assert (read.parameters, set(read.linears)) == (shape.parameters, set(shape.linears))


@pytest.mark.training
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"]])
def test_an_adapter_has_the_parameters_that_peft_gives_it(targets: Any) -> None:
    from peft import LoraConfig, get_peft_model

    model, shape = small_model("llama")
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    assert adapted.get_nb_trainable_parameters()[0] == lora_parameters(shape, 4, targets)


@pytest.mark.training
@pytest.mark.parametrize("tuning", ["prompt", "prefix", "ia3"])
def test_other_kinds_of_tuning_have_the_parameters_that_peft_gives_them(tuning: Any) -> None:
    from peft import IA3Config, PrefixTuningConfig, PromptTuningConfig, get_peft_model

    model, shape = small_model("llama")
    kinds = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig, "ia3": IA3Config}
    virtual = {} if tuning == "ia3" else {"num_virtual_tokens": 5}
    adapted = get_peft_model(model, kinds[tuning](task_type="CAUSAL_LM", **virtual))
    assert adapted.get_nb_trainable_parameters()[0] == trainable_parameters(shape, Load(tuning, virtual_tokens=5))


@pytest.mark.training
@pytest.mark.parametrize(
    ("tuning", "bfloat16", "targets"),
    [
        ("full", False, "all-linear"),
        ("full", True, "all-linear"),
        ("lora", False, "all-linear"),
        ("lora", True, "all-linear"),
        ("lora", False, ["q_proj", "v_proj"]),
        ("lora", True, ["q_proj", "v_proj"]),
        ("lora", True, ["o_proj", "down_proj"]),
    ],
)
def test_a_layer_keeps_the_activations_that_torch_keeps(tuning: Any, bfloat16: bool, targets: Any) -> None:
    rows, seq = 2, 40
    load = Load(tuning, rank=4, targets=targets, seq=seq, precision_bytes=2 if bfloat16 else 4)
    kept = [_kept_bytes(layers, rows, seq, load) for layers in (2, 3)]
    assert kept[1] - kept[0] == rows * seq * layer_activation_bytes(small_model("llama")[1], load)


def _kept_bytes(layers: int, rows: int, seq: int, load: Load) -> int:
    """Bytes of all tensors that a forward pass saves, but weights and their copies."""
    import torch
    from peft import LoraConfig, get_peft_model

    bfloat16 = load.precision_bytes == 2
    model, _ = small_model("llama", num_hidden_layers=layers)
    model = model.to(torch.bfloat16 if bfloat16 else torch.float32)
    decoder = model.model
    if load.tuning == "lora":
        get_peft_model(model, LoraConfig(r=load.rank, target_modules=load.targets, task_type="CAUSAL_LM"))
    weights = {tuple(weight.shape) for weight in model.parameters()}
    weights |= {shape[::-1] for shape in weights}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 100, (rows, seq))
    mask = torch.ones_like(ids)
    mask[0, -5:] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        decoder(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_full_tuning_takes_sixteen_bytes_a_parameter_and_eight_without_float32_copies() -> None:
    shape = find_shape("8b")
    for load, each in ((Load("full"), 16), (Load("full", master=False), 8), (Load("full", precision_bytes=4), 16)):
        found = memory(shape, load)
        assert found.weights + found.gradients + found.optimizer == each * shape.parameters


def test_four_bits_take_a_half_byte_and_an_eighth_of_a_bit_a_weight_of_a_linear_layer() -> None:
    shape = find_shape("70b")
    others = 2 * (shape.parameters - shape.linear_parameters)
    base = memory(shape, Load("qlora")).weights - 4 * lora_parameters(shape, 16) - others
    assert base * 8 / shape.linear_parameters == pytest.approx(4.127, abs=0.001)


def test_checkpointing_long_rows_and_many_gpus_change_what_they_should() -> None:
    shape = find_shape("8b")
    plain, many = memory(shape, Load(batch=2)), memory(shape, Load(batch=2, gpus=4))
    assert memory(shape, Load(batch=2, checkpointing=False)).activations > 10 * plain.activations
    assert memory(shape, Load(batch=4)).activations == 2 * plain.activations
    assert memory(shape, Load(batch=2, pairs=True)).activations == 2 * plain.activations
    assert many.weights == pytest.approx(plain.weights / 4, rel=1e-6)
    assert many.activations == plain.activations
    assert memory(shape, Load(batch=2, dropout=True)).activations > plain.activations


def test_a_name_in_any_writing_is_known_and_an_unknown_one_is_told_the_names() -> None:
    assert find_shape("meta-llama/Llama-3.1-8B-Instruct") == find_shape("8B")
    assert {find_shape(name).name for name in SHORT} <= set(CONFIGS)
    with pytest.raises(BaseModelError, match=r"'9b' is no folder and no known model; .*llama-3.1-8b"):
        find_shape("9b")


@pytest.mark.training
def test_a_folder_is_read_by_config_and_headers_alone(tmp_path: Path) -> None:
    folder = write_tiny_base(tmp_path)
    whole = read_shape(folder)
    weights = folder / "model.safetensors"
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    with weights.open("r+b") as stream:  # the weights may be anything
        stream.seek(header)
        stream.write(b"\xff" * 64)
    assert read_shape(folder) == whole


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (None, "has no config.json that can be read"),
        ("[1]", "has no config.json that can be read"),
        ('{"model_type": "llama"}', "hidden_size is None in config.json"),
        ('{"model_type": "mamba"}', "the layers of a 'mamba' are not known"),
        ('{"model_type": "llama", "hidden_size": -1}', "hidden_size is -1"),
    ],
)
def test_a_folder_without_a_model_is_one_clear_error(config: str | None, fault: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(BaseModelError, match=fault.replace("[", r"\[")):
        find_shape(str(tmp_path))


def test_an_unknown_target_is_told_what_there_is() -> None:
    with pytest.raises(BaseModelError, match=r"\['w1'\] are no linear layers of llama-3.1-8b; it has down_proj"):
        memory(find_shape("8b"), Load(targets=["w1"]))
