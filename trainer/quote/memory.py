"""How much memory a training takes on one GPU, part by part, in bytes.

Sources. Weights, gradients, optimizer: Rajbhandari et al. 2020 (ZeRO), section 3.1. Four bits and their constants:
Dettmers et al. 2023 (QLoRA), section 3. Activations: the method of Korthikanti et al. 2022 (section 4), counted anew
for layers of Llama's kind with attention that keeps no scores; a test holds the count against what torch keeps.
Output layer: TRL 1.16 makes logits in tiles, so they are never there as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.training.sections import Tuning
from trainer.quote.shapes import Shape, Targets, lora_parameters

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight: four bits, a constant of 8 bits for 64 of them, and one of 32 bits for 256 constants."""
CONTEXT_BYTES = 800_000_000
"""Of the driver, its libraries and their workspaces on one GPU. An assumption: it differs by driver and GPU."""
FRAGMENTED_SHARE = 0.05
"""Of what is allocated, lost between blocks. An assumption."""
TILE_TOKENS, TILE_VOCAB = 4_096, 32_768
"""Of TRL's tiles of logits."""
FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What is trained, and how. `batch` rows of `seq` tokens are in memory at once on each of `gpus` GPUs.

    Weights, gradients and optimizer are spread over the GPUs (FSDP, ZeRO stage 3); activations are not. `pairs` says
    that a row is two answers, as for DPO. `precision_bytes` are those of base and activations: 2 for bfloat16, 4 for
    float32. `master` keeps full tuning's weights in float32 beside them. `eight_bit` is for the optimizer's moments.
    """

    tuning: Tuning = "lora"
    rank: int = 16
    targets: Targets = "all-linear"
    virtual_tokens: int = 16
    batch: int = 1
    seq: int = 2_048
    gpus: int = 1
    checkpointing: bool = True
    pairs: bool = False
    precision_bytes: int = 2
    master: bool = True
    eight_bit: bool = False
    dropout: bool = False

    @property
    def tokens(self) -> int:
        """In memory at once on one GPU."""
        return self.batch * self.seq * (2 if self.pairs else 1)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each GPU. `working` is what a step needs for a moment beside its activations."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    working: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.working + self.overhead


def memory(shape: Shape, load: Load) -> Memory:
    """What the training takes on each GPU. Raises BaseModelError for targets that the model has not."""
    weights, gradients, optimizer = (part / load.gpus for part in _state(shape, load))
    activations, working = _activations(shape, load), _working(shape, load)
    lost = FRAGMENTED_SHARE * (weights + gradients + optimizer + activations + working)
    return Memory(*map(round, (weights, gradients, optimizer, activations, working, CONTEXT_BYTES + lost)))


def evaluation_bytes(shape: Shape, load: Load) -> int:
    """What the base takes as it is served, which is what this trainer measures results on: never in four bits."""
    return load.precision_bytes * shape.parameters + CONTEXT_BYTES


def trainable_parameters(shape: Shape, load: Load) -> int:
    """How many weights are trained: counted as PEFT makes them. Raises BaseModelError as `memory` does."""
    if load.tuning == "full":
        return shape.parameters
    if load.tuning == "prompt":
        return load.virtual_tokens * shape.hidden
    if load.tuning == "prefix":
        return load.virtual_tokens * 2 * shape.layers * shape.key_value
    if load.tuning == "ia3":  # a factor for each key, each value, and each input of the MLP's second half
        return shape.layers * (2 * shape.key_value + shape.intermediate)
    return lora_parameters(shape, load.rank, load.targets)


def layer_activation_bytes(shape: Shape, load: Load) -> float:
    """What one layer keeps of one token for its backward pass.

    Two norms keep their input in float32 (transformers computes them so). In the precision of the products are kept:
    attention's query, keys and values (repeated for grouped queries, as with a padding mask), output and mask; the
    MLP's gate, its activation and the other half; and what a trained weight is multiplied with.
    """
    kept = 4 * shape.query + 3 * shape.intermediate + load.seq + _read_by_trained(shape, load)
    in_float32 = FLOAT32 * 2 * shape.hidden + 2 * FLOAT32 + FLOAT32 * shape.heads
    return kept * load.precision_bytes + in_float32 + _dropout_masks(shape, load)


def _state(shape: Shape, load: Load) -> tuple[float, float, float]:
    """Weights, gradients, optimizer, on all GPUs together. What is trained beside a base is float32."""
    trained, size = trainable_parameters(shape, load), load.precision_bytes
    moments = 2 if load.eight_bit else 2 * FLOAT32
    if load.tuning == "full":
        if size == 2 and not load.master:  # the moments have the weights' own precision
            return 2.0 * trained, 2.0 * trained, (2.0 if load.eight_bit else 4.0) * trained
        return size * trained, size * trained, (moments + (FLOAT32 if size == 2 else 0)) * trained
    base: float = size * shape.parameters
    if load.tuning == "qlora":
        base = NF4_BYTES * shape.linear_parameters + size * (shape.parameters - shape.linear_parameters)
    return base + FLOAT32 * trained, FLOAT32 * trained, moments * trained


def _activations(shape: Shape, load: Load) -> float:
    """Of all layers, or, with checkpointing, the input of each and the whole of one; embedding and last norm too."""
    ends = (2 * load.precision_bytes + FLOAT32) * shape.hidden
    a_layer = layer_activation_bytes(shape, load)
    if load.checkpointing:
        return load.tokens * (ends + shape.layers * shape.hidden * load.precision_bytes + a_layer)
    return load.tokens * (ends + shape.layers * a_layer)


def _working(shape: Shape, load: Load) -> float:
    """The gradients of one layer's activations, a tile of logits, and a matrix or layer made whole for a moment."""
    size = load.precision_bytes
    needed: float = load.tokens * size * (3 * shape.intermediate + 2 * shape.hidden)
    needed += min(load.tokens, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB) * size
    needed += load.tokens * shape.hidden * FLOAT32  # the gradient of what the output layer reads
    if load.tuning == "full":
        needed += shape.vocab * shape.hidden * FLOAT32  # the gradient of the output layer, before it is rounded
    if load.tuning == "qlora":
        needed += max(one.outputs * one.inputs for one in shape.linears) * size
    if load.gpus > 1:  # one layer is computed while the next is fetched
        needed += 2 * size * shape.linear_parameters / shape.layers
    return needed


MLP_INPUTS = ("gate_proj", "up_proj", "gate_up_proj")


def _read_by_trained(shape: Shape, load: Load) -> float:
    """Values of a token that a layer's trained weights read, and those between A and B of an adapter."""
    if load.tuning == "full":  # a norm's weight reads as well; o_proj reads attention's output, which is kept anyway
        return 4 * shape.hidden + shape.intermediate
    if load.tuning not in ("lora", "qlora"):
        return 0
    targets = shape.targeted(load.targets)
    between = sum(load.rank * one.count for one in targets) / shape.layers
    if load.precision_bytes == 2:  # each adapter reads a copy of its own, made for its precision
        return between + sum(one.inputs * one.count for one in targets) / shape.layers
    own_copy = {one.inputs for one in targets if one.name not in ("o_proj", *MLP_INPUTS)}
    return between + sum(own_copy) + (shape.hidden if any(one.name in MLP_INPUTS for one in targets) else 0)


def _dropout_masks(shape: Shape, load: Load) -> float:
    if not load.dropout or load.tuning not in ("lora", "qlora"):
        return 0
    read = sum(one.inputs * one.count for one in shape.targeted(load.targets)) / shape.layers
    return read * (1 if load.precision_bytes == 2 else FLOAT32)
