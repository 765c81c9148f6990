"""vLLM's server as `switchyard up` starts it on a CPU: `python -m gateway.engines.vllm.on_cpu`, with options of vLLM's.

vLLM (0.32) multiplies on a CPU by copying an adapter's matrices once for every token of a step. Here all tokens that
have the same adapter are multiplied by its matrices where they are; tokens without an adapter get none. A vLLM whose
products are called otherwise than those of 0.32 keeps its own and says so in its log: slower is better than not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

Tensor = Any
"""`torch.Tensor`: a gateway, of which this is a file, imports no torch."""
Tokens = Any
"""A slice of a step's tokens, or their numbers in a tensor."""
Places = Mapping[int, Tokens]
"""By slot, the tokens that have the adapter in it."""
Runs = tuple[tuple[int, int, int], ...]
"""First token, number of tokens, and slot; a negative one is none."""
MOST_KNOWN = 256
_known: dict[Runs, Places] = {}
"""What a step's runs come to: it is asked hundreds of times in the same step."""


def places_of(runs: Runs, numbers: Tensor) -> Places:
    """Where each slot's tokens are; `numbers` is any tensor of the kind that numbers of tokens are to be in."""
    if (known := _known.get(runs)) is not None:
        return known
    found: dict[int, list[int]] = {}
    for begin, length, slot in runs:
        if slot >= 0:
            found.setdefault(slot, []).extend(range(begin, begin + length))
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    places = _known[runs] = {slot: _together(tokens, numbers) for slot, tokens in found.items()}
    return places


def _together(tokens: list[int], numbers: Tensor) -> Tokens:
    begin, end = tokens[0], tokens[-1] + 1
    return slice(begin, end) if end - begin == len(tokens) else numbers.new_tensor(tokens)


def shrink(inputs: Tensor, weights: Tensor, output: Tensor, places: Places, scaling: float) -> None:
    """Set the tokens' rows of `output` (tokens × rank) to their rows of `inputs` times the adapter's A."""
    for slot, rows in places.items():
        product = _product(inputs[rows], weights[slot], output)
        output[rows, : product.shape[1]] = product.mul_(scaling)


def expand(inputs: Tensor, weights: Tensor, output: Tensor, places: Places, add: bool) -> None:
    """Add the tokens' rows of `inputs` times the adapter's B to theirs of `output` (tokens × outputs), or set them."""
    for slot, rows in places.items():
        product = _product(inputs[rows], weights[slot], output)
        width = min(product.shape[1], output.shape[1])  # layers and adapters may be padded differently
        if add:
            output[rows, :width] += product[:, :width]
        else:
            output[rows, :width] = product[:, :width]


def _product(inputs: Tensor, weights: Tensor, output: Tensor) -> Tensor:
    matrix = weights.reshape(weights.shape[-2:])  # some stacks have a dimension of one
    return inputs.to(output.dtype) @ matrix.to(output.dtype).T


def _of_sequences(begins: Tensor, lengths: Tensor, slots: Tensor) -> Places:
    return places_of(tuple(zip(begins.tolist(), lengths.tolist(), slots.tolist(), strict=True)), slots)


def _of_tokens(slots: Tensor) -> Places:
    return places_of(tuple((token, 1, slot) for token, slot in enumerate(slots.tolist())), slots)


def sgmv_shrink(
    inputs: Tensor, weights: Tensor, output: Tensor, begins: Tensor, lengths: Tensor, slots: Tensor, *rest: Any
) -> None:
    """Of prompts, as vLLM calls it."""
    shrink(inputs, weights, output, _of_sequences(begins, lengths, slots), rest[-1])


def sgmv_expand(
    inputs: Tensor, weights: Tensor, output: Tensor, begins: Tensor, lengths: Tensor, slots: Tensor, *rest: Any
) -> None:
    """Likewise."""
    expand(inputs, weights, output, _of_sequences(begins, lengths, slots), rest[-1])


def sgmv_expand_slice(
    inputs: Tensor, weights: Tensor, output: Tensor, begins: Tensor, lengths: Tensor, slots: Tensor, *rest: Any
) -> None:
    """Likewise, into some columns of `output`."""
    offset, size, add = rest[-3:]
    expand(inputs, weights, output[:, offset : offset + size], _of_sequences(begins, lengths, slots), add)


def bgmv_shrink(inputs: Tensor, weights: Tensor, output: Tensor, slots: Tensor, scaling: float = 1.0) -> None:
    """Of single tokens, as vLLM calls it."""
    shrink(inputs, weights, output, _of_tokens(slots), scaling)


def bgmv_expand(inputs: Tensor, weights: Tensor, output: Tensor, slots: Tensor, add_inputs: bool = True) -> None:
    """Likewise."""
    expand(inputs, weights, output, _of_tokens(slots), add_inputs)


def bgmv_expand_slice(
    inputs: Tensor, weights: Tensor, output: Tensor, slots: Tensor, offset: int, size: int, add_inputs: bool = True
) -> None:
    """Likewise, into some columns of `output`."""
    expand(inputs, weights, output[:, offset : offset + size], _of_tokens(slots), add_inputs)


_STRETCHES = ("b_seq_start_loc", "seq_len_tensor", "lora_indices_tensor", "batches", "max_seq_length", "token_nums")
_SHRINKS, _EXPANDS = (("inputs", f"lora_{one}_weights", "output_tensor") for one in "ab")
PRODUCTS: Mapping[Callable[..., None], tuple[str, ...]] = {
    bgmv_expand: (*_EXPANDS, "lora_indices_tensor", "add_inputs"),
    bgmv_expand_slice: (*_EXPANDS, "lora_indices_tensor", "slice_offset", "slice_size", "add_inputs"),
    bgmv_shrink: (*_EXPANDS, "lora_indices_tensor", "scaling"),  # it calls A so too
    sgmv_expand: (*_EXPANDS, *_STRETCHES, "add_inputs"),
    sgmv_expand_slice: (*_EXPANDS, *_STRETCHES, "slice_offset", "slice_size", "add_inputs"),
    sgmv_shrink: (*_SHRINKS, *_STRETCHES, "scaling"),
}
"""Each with the parameters that vLLM's own has in whose place it is called, by position."""


IN_ITS_CHILD = "__mp_main__"
"""What this module is called in the process that the server starts for the engine itself (by multiprocessing)."""
LOG = "vllm.switchyard"
SAID = "adapters are multiplied where they are"
"""In the engine's log, of each of both processes."""
SAID_OF_OTHERS = "adapters are multiplied by vLLM's own products"
"""Likewise, where ours do not fit."""


def put_in_place(module: Any) -> None:
    """Let `module`, vLLM's products for CPUs, multiply by ours in this process, if its own are called as 0.32's are."""
    log = logging.getLogger(LOG)
    if (why := unfit(module)) is not None:
        log.warning("%s: %s", SAID_OF_OTHERS, why)
        return
    for product in PRODUCTS:
        setattr(module, product.__name__, product)
    log.warning(SAID)  # others than vLLM's own: who reads its log should know


def unfit(module: Any) -> str | None:
    """Why ours cannot stand for the module's own products; `None`: they can."""
    for product, expected in PRODUCTS.items():
        name = product.__name__
        if (own := getattr(module, name, None)) is None:
            return f"this one has no {name}, as 0.32 has"
        try:
            given = tuple(signature(own).parameters)
        except (TypeError, ValueError):  # it is not of Python
            return f"its {name} does not say what it takes"
        if given != expected:
            return f"its {name} takes {', '.join(given)}, and that of 0.32 {', '.join(expected)}"
    return None


def begin() -> None:
    """In a process that multiplies or starts one that does."""
    try:
        from vllm.lora.punica_wrapper import punica_cpu
    except ImportError as error:
        logging.getLogger(LOG).warning("%s: %s", SAID_OF_OTHERS, error)
    else:
        put_in_place(punica_cpu)


def main() -> None:
    """Serve until the process is ended."""
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()


if __name__ in ("__main__", IN_ITS_CHILD):
    begin()
if __name__ == "__main__":
    main()
