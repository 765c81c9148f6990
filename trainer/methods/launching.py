"""A training in several processes, by `accelerate launch` and a configuration file of accelerate's.

Only the steps are theirs: rows are read, the base is asked, and what was made is measured and saved by the process that
starts them. `launched.py` is what each of them runs; the first one says in JSON lines on stdout how far it is.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.data.encode import Encoded
from trainer.errors import RecipeError, TrainingRefused
from trainer.folders import end_of
from trainer.jobs.lines import Event, Measured, of_line
from trainer.methods.loading import LoadedBase, load_base, loading
from trainer.methods.results import Trained, round_as_saved
from trainer.methods.rows import EncodedPair, Row, Rows
from trainer.methods.signs import Validation
from trainer.watch import Watch

KINDS = ("NO", "MULTI_GPU", "FSDP", "DEEPSPEED")
"""Of `distributed_type` in accelerate's configuration that are passed on: with MULTI_CPU it starts one process only."""
EXCEPTION = re.compile(r"(\[rank\d+\]: ?)?[\w.]+(Error|Refused|Exception)\b.*:")
MAX_SHOWN_CHARACTERS = 500
LOG_BYTES = 1 << 20
"""Of what processes have written, the end of which is searched for why they failed."""


def check_launch(config: Path, recipe: TrainingOptions) -> None:
    """Refuse a configuration that is none, and what a training in several processes does not do. Raises RecipeError."""
    import yaml

    where = f"launch.accelerate_config = {str(config)!r}"
    try:
        found = yaml.safe_load(config.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RecipeError(f"{where} cannot be read ({error}); write it with `accelerate config`") from error
    kind = str(found.get("distributed_type")) if isinstance(found, dict) else None
    if kind not in KINDS:
        raise RecipeError(f"{where}: distributed_type is {kind}; give one of {', '.join(KINDS)}")
    if found.get("num_machines", 1) != 1:
        raise RecipeError(
            f"{where}: num_machines is {found['num_machines']}; processes are started on this machine only"
        )
    if kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise RecipeError(f"{where} needs the package deepspeed; install it with `pip install deepspeed`")
    if recipe.training.early_stopping_patience is not None:
        raise RecipeError("training.early_stopping_patience keeps weights of one process; leave it out with [launch]")


def launch(
    config: Path, base: LoadedBase, rows: Rows, recipe: TrainingOptions, watch: Watch, start: Path | None
) -> Trained:
    """`train` in the processes of a configuration; without checkpoints. Raises TrainingRefused when they fail."""
    with tempfile.TemporaryDirectory(prefix="switchyard-launch-") as name:
        folder = Path(name)
        task = {
            "base": str(base.folder.resolve()),
            "start": str(start) if start else None,
            "recipe": recipe.model_dump(mode="json", include=set(TrainingOptions.model_fields), exclude_unset=True),
            "train": _written(rows.train),
            "valid": _written(rows.valid),
        }
        (folder / "task.json").write_text(json.dumps(task), "utf-8")
        _run(config, folder, watch)
        made = json.loads((folder / "made.json").read_bytes())
        return _taken_up(base, recipe, folder / "made", made)


def read_rows(documents: Iterable[Any]) -> list[Row]:
    """What `launch` wrote for its processes."""
    return [
        EncodedPair(_encoded(one["chosen"]), _encoded(one["rejected"])) if "chosen" in one else _encoded(one)
        for one in documents
    ]


def _written(rows: Sequence[Row]) -> list[Any]:
    return [asdict(row) for row in rows]


def _encoded(document: Mapping[str, Any]) -> Encoded:
    ids = {name: tuple(document[name]) for name in ("prompt_ids", "completion_ids")}
    return Encoded(document["line"], ids["prompt_ids"], ids["completion_ids"], document["cut"])


def _run(config: Path, folder: Path, watch: Watch) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    errors = folder / "stderr"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [*command, "-m", "trainer.methods.launched", str(folder)], stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as running,
    ):
        assert running.stdout is not None
        try:
            for line in running.stdout:
                _relay(line, watch)
        except BaseException:
            running.terminate()
            raise
    if running.returncode != 0:
        why = _reason(end_of(errors, LOG_BYTES))
        raise TrainingRefused(f"the processes of `accelerate launch` ended with {running.returncode}: {why}")


def _reason(errors: str) -> str:
    """The last exception of a process, and not what its starter says of it."""
    lines = [line for line in errors.splitlines() if line.strip()]
    raised = [line for line in lines if EXCEPTION.match(line) and "CalledProcessError" not in line]
    return " ".join((raised or lines)[-1:])[:MAX_SHOWN_CHARACTERS]


def _relay(line: str, watch: Watch) -> None:
    said = of_line(line)  # libraries print too
    if isinstance(said, Measured):
        watch.metrics(said.metrics)
    elif isinstance(said, Event):
        watch.say(said.message, level="info" if said.level == "info" else "warn")


def _taken_up(base: LoadedBase, recipe: TrainingOptions, folder: Path, made: Mapping[str, Any]) -> Trained:
    from peft import PeftModel

    if recipe.model.tuning == "full":
        model = load_base(folder, base.tokenizer).model
    else:
        with loading(folder, "what was trained in", "see what the processes said"):
            model = PeftModel.from_pretrained(base.model, folder, is_trainable=True)
    round_as_saved(model, made["before"])
    return Trained(
        model=model.eval(),
        tokenizer=base.tokenizer,
        tuning=recipe.model.tuning,
        base_name=base.name,
        steps=made["steps"],
        seconds=made["seconds"],
        train_loss=made["train_loss"],
        trained_tokens=made["trained_tokens"],
        validation=Validation(**made["validation"]) if made["validation"] else None,
    )
