"""Which weights are trained: the model that a trainer is given, for each kind of tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.training.sections import SOFT_PROMPTS, TrainingOptions
from trainer.errors import RecipeError
from trainer.methods.loading import LoadedBase, load_in_four_bits, loading


def check_targets(base: LoadedBase, recipe: TrainingOptions) -> None:
    """Refuse modules that the base has not, which PEFT would say after the data is encoded. Raises RecipeError."""
    targets = recipe.lora.target_modules
    if targets == "all-linear":
        return
    import torch

    linears = {name for name, module in base.model.named_modules() if isinstance(module, torch.nn.Linear)}
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in linears)]
    if unknown:
        known = sorted({name.rpartition(".")[2] for name in linears} - {"lm_head"})
        raise RecipeError(
            f"lora.target_modules names {unknown}, which are no linear layers of the base; it has {', '.join(known)}"
        )


def model_to_train(base: LoadedBase, recipe: TrainingOptions, start_from: Path | None) -> Any:
    """The base with what is to be trained in place: a PEFT model, or all of the base for full tuning.

    `start_from` is the folder of an adapter that goes on learning. Raises BaseModelError and RecipeError.
    """
    from peft import PeftConfig, PeftModel, get_peft_model

    tuning = recipe.model.tuning
    model = load_in_four_bits(base.folder) if tuning == "qlora" else base.model
    model.config.use_cache = False
    if tuning == "full":
        model.requires_grad_(True)
        return model
    if start_from is not None:
        with loading(start_from, "the adapter to go on from in", "give another version"):
            config = PeftConfig.from_pretrained(start_from)
            config.lora_dropout = recipe.lora.dropout
            config.base_model_name_or_path = str(base.folder)  # PEFT would look for a bare name on the hub
            model = PeftModel.from_pretrained(model, start_from, is_trainable=True, config=config)
    else:
        try:
            model = get_peft_model(model, _peft_config(recipe))
        except ValueError as error:  # PEFT knows the layers of some architectures only
            if tuning != "ia3":
                raise
            kind = model.config.model_type
            raise RecipeError(f'model.tuning = "ia3" does not know the layers of a {kind} base; use "lora"') from error
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # steps of a small rate are lost in fewer bits
    return model


def on_serving_base(trained: Any, base: LoadedBase) -> Any:
    """The adapter of a model in four bits, on the base as it is served: what is measured is what will be served."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = trained.peft_config["default"]
    config.base_model_name_or_path = base.model.name_or_path
    served = get_peft_model(base.model, config)
    set_peft_model_state_dict(served, get_peft_model_state_dict(trained, save_embedding_layers=False))
    return served


def _peft_config(recipe: TrainingOptions) -> Any:
    from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig

    tuning = recipe.model.tuning
    if tuning in SOFT_PROMPTS:
        kind = PromptTuningConfig if tuning == "prompt" else PrefixTuningConfig
        return kind(num_virtual_tokens=recipe.prompt.virtual_tokens, task_type="CAUSAL_LM")
    if tuning == "ia3":
        return IA3Config(task_type="CAUSAL_LM")
    return LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        use_rslora=recipe.lora.rslora,
        target_modules=recipe.lora.target_modules,
        bias="none",
        task_type="CAUSAL_LM",
    )
