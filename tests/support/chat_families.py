"""How the families of open models write chats: hand-made templates with their special tokens and turns.

They are shorter than the published ones: what decides where a prompt ends, and how an answer ends, is as there.
"""

from __future__ import annotations

from tests.support.tiny_base import Family

LLAMA_3 = Family(
    "{{ bos_token }}{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "<|begin_of_text|>",
    "<|eot_id|>",
    ("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"),
    ("<|end_of_text|>", "<|eot_id|>"),
)
QWEN_3 = Family(
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "<|endoftext|>",
    "<|im_end|>",
    ("<|im_start|>",),
    ("<|im_end|>", "<|endoftext|>"),
)
GEMMA = Family(
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "<bos>",
    "<eos>",
    ("<start_of_turn>", "<end_of_turn>"),
    ("<eos>", "<end_of_turn>"),
)
MISTRAL = Family(
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}"
    "{% else %}[INST] {{ m['content'] }}[/INST]{% endif %}{% endfor %}",
    "<s>",
    "</s>",
    ("[INST]", "[/INST]"),
)
PHI_3 = Family(
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
    "<s>",
    "<|endoftext|>",
    ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    ("<|end|>", "<|endoftext|>"),
)
SMOLLM_2 = Family(
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are SmolLM.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "<|im_start|>",
    "<|im_end|>",
)
FAMILIES = {
    "llama 3": LLAMA_3,
    "qwen 3": QWEN_3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "phi 3": PHI_3,
    "smollm 2": SMOLLM_2,
}
