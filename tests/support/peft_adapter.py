"""Adapters that PEFT itself saved."""

from __future__ import annotations

from pathlib import Path


def write_peft_adapter(base: Path, folder: Path, strength: float) -> Path:
    """A LoRA adapter with random weights of this size."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(plain, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, strength)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return folder
