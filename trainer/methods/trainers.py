"""TRL's trainers, made to take rows as they are encoded here and to resume whatever is trained."""

from __future__ import annotations

from typing import Any

from trainer.methods.learnt_only import learnt_only


def answer_trainer() -> Any:
    """The class for `method = "sft"`."""
    from trl import SFTTrainer

    class AnswerTrainer(_resuming(), SFTTrainer):  # type: ignore[misc]
        """Learns answers."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **given: Any) -> Any:
            """TRL's, of fewer positions; who wants outputs gets those of all."""
            if return_outputs:
                return super().compute_loss(model, inputs, return_outputs, **given)
            with learnt_only(self.model, inputs) as fewer:
                return super().compute_loss(model, fewer, **given)

    return AnswerTrainer


def preference_trainer() -> Any:
    """The class for `method = "dpo"`."""
    from trl import DPOTrainer

    class PreferenceTrainer(_resuming(), DPOTrainer):  # type: ignore[misc]
        """Learns to prefer one answer to another."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            """The pairs are token ids already, exactly as the engine will see them."""
            return dataset

    return PreferenceTrainer


def _resuming() -> Any:
    from peft import load_peft_weights, set_peft_model_state_dict

    class Resuming:
        def _load_from_checkpoint(self, folder: str, model: Any = None) -> None:
            """Of a PEFT model the adapter that learns: the Trainer's own takes the reference one, if there are two."""
            trained = model or self.model  # type: ignore[attr-defined]
            if hasattr(trained, "peft_config"):
                set_peft_model_state_dict(trained, load_peft_weights(folder))
            else:
                super()._load_from_checkpoint(folder, model)  # type: ignore[misc]

    return Resuming
