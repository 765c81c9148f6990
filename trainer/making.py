"""From rows to a proved adapter in a folder: encode → base's answers → train → save → evaluate → prove.

What `switchyard train` and a job's child process have in common. Everything that can fail for a reason known beforehand
fails before the training starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.adapters.effect_proof import Probe, write_proof
from registry.training.sections import SERVED
from trainer.data.encode import Encoded, Rules, encode_all, truncation
from trainer.data.faults import all_of
from trainer.data.findings import tell
from trainer.data.read import Dataset
from trainer.data.rows import Example
from trainer.data.sets import Sets
from trainer.effect import prove_effect
from trainer.errors import RecipeError
from trainer.evaluation.in_training import Examination, Result, TrainingEvaluation, evaluation, examination, examine
from trainer.methods.engine_rendering import engine_at
from trainer.methods.launching import check_launch, launch
from trainer.methods.loading import LoadedBase, load_base, load_tokenizer
from trainer.methods.receipt import Receipt, base_of, masking_receipt
from trainer.methods.results import Trained
from trainer.methods.rows import EncodedPair, Rows, encode_pairs
from trainer.methods.training import train
from trainer.methods.tuning import check_targets
from trainer.probes import Text, probe_texts
from trainer.recipe import Recipe
from trainer.row_keys import write_row_keys
from trainer.saved import load, made_of, save
from trainer.tracking import check_trackers, tracked
from trainer.watch import Watch

ENVIRONMENT = {
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # AMX may be advertised and still fault
    "OMP_WAIT_POLICY": "PASSIVE",  # beside a serving engine, threads that spin while they wait stop each other
    "KMP_BLOCKTIME": "0",
    "DO_NOT_TRACK": "true",  # MLflow and the hub's client tell their makers nothing of what is trained here
}


def set_environment() -> None:
    """`ENVIRONMENT`, where nothing else is set; to be called before the libraries are imported that read it."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True, slots=True)
class Task:
    """What is made of what. `folder` gets the adapter.

    `take_up`: the adapter lies there already. `resume_from` is a checkpoint of this very task, `start_from` the folder
    of an adapter that training goes on from. `engine` is the address of a vLLM that serves the base, to compare how
    prompts are rendered.
    """

    recipe: Recipe
    sets: Sets
    base_folder: Path
    folder: Path
    take_up: bool = False
    resume_from: Path | None = None
    start_from: Path | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class EncodedSets:
    """Both sets as tokens. The held-out rows are those whose answers are whole: to the others none can be right."""

    tokenizer: Any
    train: list[Encoded]
    heldout: list[Encoded]
    receipt: Receipt
    pairs: Rows | None = None
    """For DPO: what is learnt and validated on; `train` and `heldout` have the chosen answers."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """An adapter that is trained and saved, and what it is measured with."""

    base: LoadedBase
    trained: Trained
    folder: Path
    asked: Examination
    base_result: Result
    texts: list[Text]
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured of it."""

    evaluation: TrainingEvaluation
    probes: tuple[Probe, ...]

    @property
    def largest_effect(self) -> float | None:
        """In nats; None after full tuning, which leaves no base to compare with."""
        return max((probe.largest_effect for probe in self.probes), default=None)


def encode(task: Task, watch: Watch) -> EncodedSets:
    """The rows as the base's tokenizer has them, with the receipt of what is learnt of them.

    Raises RecipeError, DataError, BaseModelError, and TrainingRefused when there can be no receipt.
    """
    if task.recipe.accelerate_config is not None:
        check_launch(task.recipe.accelerate_config, task.recipe.model)
    check_trackers(task.recipe)
    tokenizer, recipe, sets = _tokenizer(task.base_folder, task.recipe, task.sets.train), task.recipe, task.sets
    section = recipe.model.data
    rules = Rules(recipe.model.training.max_length_tokens, section.overlong, section.special_tokens_in_prompts)
    if recipe.model.training.method == "dpo":
        return _encoded_pairs(task, tokenizer, rules, watch)
    if sets.train.preferences:
        watch.say('rows are preferences: the chosen answers are learnt; training.method = "dpo" learns the difference')

    def encoded(data: Dataset) -> Callable[[], list[Encoded]]:
        return lambda: encode_all(tokenizer, data.examples, file=str(data.file), rules=rules)

    train_rows, heldout = all_of(encoded(sets.train), encoded(sets.heldout))
    tell(watch, truncation(train_rows, rules.max_length_tokens))
    receipt = _receipt(task, tokenizer, sets.train.examples, train_rows)
    return EncodedSets(tokenizer, train_rows, _whole(heldout, watch), receipt)


def fit(task: Task, rows: EncodedSets, watch: Watch) -> Fitted:
    """Train and save, or take up what was saved. Raises what `train` raises, and RecipeError."""
    watch.say(rows.receipt.sentence, data={"masking_receipt": rows.receipt.shown()})
    watch.stage("loading the base model")
    base = load_base(task.base_folder, rows.tokenizer)
    check_targets(base, task.recipe.model)
    texts = probe_texts(rows.heldout, rows.train)
    asked = examination(rows.heldout, task.recipe.model.evaluation)
    if asked.too_long:
        watch.stage(
            f"evaluation.max_new_tokens is {asked.max_new_tokens}, and {asked.too_long} of {len(asked.rows)} held-out "
            f"answers are longer ({asked.longest_reference} tokens at most): these cannot be right"
        )
    watch.stage(f"asking the base {len(asked.rows)} held-out rows")
    before = examine(base.model, base.tokenizer, asked)
    trained, folder = _trained(task, base, rows, asked, watch)
    return Fitted(base, trained, folder, asked, before, texts, rows.receipt)


def judge(fitted: Fitted, watch: Watch) -> Judged:
    """Compare with the base on held-out rows, and write the proof of the effect. Raises TrainingRefused."""
    asked, tokenizer = fitted.asked, fitted.base.tokenizer
    watch.stage(f"asking the adapter {len(asked.rows)} held-out rows")
    after = examine(fitted.trained.model, tokenizer, asked)
    probes: tuple[Probe, ...] = ()
    if fitted.trained.tuning != "full":
        watch.stage("proving the effect")
        probes = prove_effect(fitted.trained.model, fitted.texts)
        write_proof(probes, fitted.folder)
    return Judged(evaluation(tokenizer, asked, fitted.base_result, after), probes)


def _tokenizer(base_folder: Path, recipe: Recipe, rows: Dataset) -> Any:
    """The base's, which must have a chat template if the rows are turns."""
    tokenizer = load_tokenizer(base_folder)
    if rows.needs_template and not tokenizer.chat_template:
        raise RecipeError(
            f'{recipe.file}: rows of form "{rows.format}", and the base has no chat template; write rows of form '
            '"completion", or take another base'
        )
    return tokenizer


def _encoded_pairs(task: Task, tokenizer: Any, rules: Rules, watch: Watch) -> EncodedSets:
    sets, most = task.sets, task.recipe.model.evaluation.max_rows

    def encoded(data: Dataset) -> Callable[[], list[EncodedPair]]:
        return lambda: encode_pairs(tokenizer, data.preferences, file=str(data.file), rules=rules)

    train_pairs, heldout = all_of(encoded(sets.train), encoded(sets.heldout))
    examples = [example for pair in sets.train.preferences for example in pair.pair]
    rows = [row for pair in train_pairs for row in (pair.chosen, pair.rejected)]
    tell(watch, truncation(rows, rules.max_length_tokens))
    return EncodedSets(
        tokenizer,
        [pair.chosen for pair in train_pairs],
        _whole([pair.chosen for pair in heldout], watch),
        _receipt(task, tokenizer, examples, rows),
        Rows(train_pairs, heldout[:most]),
    )


def _receipt(task: Task, tokenizer: Any, examples: Sequence[Example], rows: Sequence[Encoded]) -> Receipt:
    base = base_of(task.base_folder, tokenizer)
    if task.engine is None:
        return masking_receipt(base, examples, rows)
    with engine_at(task.engine) as ask:
        return masking_receipt(base, examples, rows, ask)


def _whole(heldout: list[Encoded], watch: Watch) -> list[Encoded]:
    whole = [row for row in heldout if not row.cut]
    if not whole:
        raise RecipeError("every held-out row is longer than training.max_length_tokens; raise it, or shorten the rows")
    if len(whole) < len(heldout):
        left_out = len(heldout) - len(whole)
        watch.stage(f"{left_out} held-out rows are longer than training.max_length_tokens and are not scored")
    return whole


def _trained(task: Task, base: LoadedBase, rows: EncodedSets, asked: Examination, watch: Watch) -> tuple[Trained, Path]:
    """The adapter and its folder."""
    digest, folder = made_of(task.recipe, task.sets, base), task.folder
    if task.take_up:
        watch.stage(f"taking up the adapter in {folder}")
        taken_up = load(base, folder, digest)
        _write_keys(task, folder)
        return taken_up, folder
    answer_tokens = sum(len(row.completion_ids) for row in rows.train)
    watch.stage(f"training on {len(rows.train)} rows ({answer_tokens} answer tokens)")
    learnt = rows.pairs or Rows(rows.train, asked.rows)
    config = task.recipe.accelerate_config
    with tracked(task.recipe):
        if config is None:
            trained = train(base, learnt, task.recipe.model, watch, task.resume_from, task.start_from)
        else:
            trained = launch(config, base, learnt, task.recipe.model, watch, task.start_from)
    saved_in = save(trained, folder, digest)
    if saved_in != folder:
        watch.stage(f"{folder} cannot be written to any more; the adapter is in {saved_in}")
    _write_keys(task, saved_in)
    return trained, saved_in


def _write_keys(task: Task, folder: Path) -> None:
    """For what can become a version; a base of its own has no use for them."""
    if task.recipe.model.model.tuning in SERVED:
        write_row_keys(task.recipe.model.adapter.tenant, task.sets.train, folder)
