"""A random Llama of some thousand weights with a byte tokenizer, in Hugging Face layout; no network needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STOP = "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of models writes chats: its template, its special tokens, and those at which its engines stop."""

    template: str
    bos: str
    eos: str
    others: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()


CHATML = Family(CHAT_TEMPLATE, "<|im_start|>", STOP)


def write_tiny_base(folder: Path, family: Family = CHATML) -> Path:
    """Write config, safetensors, tokenizer and chat template into `folder` and return it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={text: index for index, text in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=family.eos,
        bos_token=family.bos,
        pad_token=family.eos,
        additional_special_tokens=list(family.others),
        chat_template=family.template,
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    if family.stops:
        model.generation_config.eos_token_id = fast.convert_tokens_to_ids(list(family.stops))
    model.save_pretrained(folder)
    return folder
