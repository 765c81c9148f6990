"""Tasks of lm-evaluation-harness (0.4.13), asked of both models through the gateway, as lines of the same matrix.

The harness is no dependency: it runs as a program of an environment of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.children.environment import without_settings
from trainer.endpoints.endpoint import Endpoint
from trainer.errors import EvaluationError
from trainer.evaluation.items import Item, item_of_scores

PREFIX = "harness:"
"""Of the names of its tasks as metrics: `harness:arc_easy`."""
COMMAND = "lm_eval"
INSTALL = "pip install 'lm_eval[api]==0.4.13' transformers"
AT_ONCE = 4
HOURS = 24
"""Of a task of one model, unless it is said how many: MMLU by a small engine takes most of a day."""
MAX_SHOWN_CHARACTERS = 600
Told = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Harness:
    """How it is run. `limit` bounds the documents of a task, `include` is a folder with tasks of one's own.

    `chat`: by the chat endpoint and the base's template, for tasks whose answers are written. Else by completions;
    tasks that compare the likelihood of given answers need `tokenizer`, the base's folder, then. `runs_code` lets it
    run what models write, which HumanEval does. A task of one model may take `limit_s`.
    """

    command: str
    tasks: tuple[str, ...]
    url: str
    key: str = field(repr=False)
    limit: int | None = None
    include: Path | None = None
    chat: bool = False
    runs_code: bool = False
    tokenizer: Path | None = None
    limit_s: float = HOURS * 3_600


def harness_of(tasks: str, settings: Sequence[str], endpoint: Endpoint, base: Path | None) -> Harness:
    """Of tasks with commas between them, and settings as `limit=200`; `base` is the base's folder, if it is at hand.

    Raises EvaluationError for a setting that there is not, and where the harness is not.
    """
    said = dict(_setting(one) for one in settings)
    chat = said.get("chat", False)
    return Harness(
        find_command(said.get("command")),
        tuple(dict.fromkeys(task.strip() for task in tasks.split(",") if task.strip())),
        endpoint.base_url,
        endpoint.key,
        said.get("limit"),
        said.get("include"),
        chat,
        said.get("runs_code", False),
        None if chat else base,
        said.get("hours", HOURS) * 3_600,
    )


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if name not in SETTINGS or not equals:
        raise EvaluationError(f"--harness-set is {text[:80]!r}; expected KEY=VALUE, with one of {', '.join(SETTINGS)}")
    try:
        return name, SETTINGS[name](value)
    except (KeyError, ValueError) as failed:
        raise EvaluationError(f"--harness-set is {text[:80]!r}, and {name} cannot be that; see --help") from failed


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _yes_or_no(text: str) -> bool:
    return {"yes": True, "no": False}[text]


SETTINGS: dict[str, Callable[[str], Any]] = {
    "command": str,
    "limit": _number,
    "include": Path,
    "chat": _yes_or_no,
    "runs_code": _yes_or_no,
    "hours": _number,
}
"""Of a run, by name, and how each is read."""


def find_command(given: str | None) -> str:
    """The harness's program. Raises EvaluationError with what to install."""
    found = shutil.which(given or COMMAND)
    if found is None:
        raise EvaluationError(
            f"lm-evaluation-harness is not here ({given or COMMAND!r}); in an environment of its own: {INSTALL}, "
            "and name its program with --harness-set command=PATH"
        )
    return found


def run_harness(harness: Harness, models: tuple[str, str], told: Told = lambda text: None) -> tuple[Item, ...]:
    """Each task of both models, the incumbent first, paired by document. Raises EvaluationError when it fails."""
    items = []
    for task in harness.tasks:
        sides = []
        for model in models:
            told(f"{task} of {model}")
            sides.append(_scores(harness, task, model))
        both = sorted(sides[0].keys() & sides[1].keys())
        if not both:
            raise EvaluationError(f"{PREFIX}{task} has no document with a score; name another task")
        first, second = ([side[document] for document in both] for side in sides)
        span = None if {*first, *second} <= {0.0, 1.0} else 1.0
        items.append(item_of_scores(f"{PREFIX}{task}", both, first, second, span=span))
    return tuple(items)


def _scores(harness: Harness, task: str, model: str) -> dict[str, float]:
    """Of each document of a task, by its name."""
    with tempfile.TemporaryDirectory(prefix="switchyard-harness-") as folder:
        environment = {
            "DO_NOT_TRACK": "true",
            **without_settings(),
            "OPENAI_API_KEY": harness.key,
            "TOKENIZERS_PARALLELISM": "false",
        }
        if harness.runs_code:
            environment["HF_ALLOW_CODE_EVAL"] = "1"
        done = _ended(harness, _command(harness, task, model, Path(folder)), environment)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip())[-MAX_SHOWN_CHARACTERS:]
            raise EvaluationError(f"lm-evaluation-harness failed at {task} (status {done.returncode}): {last}")
        return dict(_samples(Path(folder)))


def _ended(
    harness: Harness, command: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=harness.limit_s
        )
    except subprocess.TimeoutExpired as failed:
        raise EvaluationError(
            f"lm-evaluation-harness has not ended within {harness.limit_s:g} seconds; ask fewer documents with "
            "--harness-set limit=N, or allow more with hours=N"
        ) from failed


def _command(harness: Harness, task: str, model: str, out: Path) -> list[str]:
    path = "chat/completions" if harness.chat else "completions"
    arguments: dict[str, Any] = {"model": model, "base_url": f"{harness.url}/{path}", "num_concurrent": AT_ONCE}
    if harness.chat or harness.tokenizer is None:
        arguments |= {"tokenizer_backend": "none", "tokenized_requests": False}
    else:
        arguments |= {"tokenizer_backend": "huggingface", "tokenizer": str(harness.tokenizer)}
    command = [
        *(harness.command, "run", "--tasks", task, "--output_path", str(out), "--log_samples"),
        *("--model", "local-chat-completions" if harness.chat else "local-completions"),
        *("--model_args", json.dumps(arguments), "--batch_size", "1"),
    ]
    if harness.chat:
        command.append("--apply_chat_template")
    if harness.limit is not None:
        command += ["--limit", str(harness.limit)]
    if harness.include is not None:
        command += ["--include_path", str(harness.include.absolute())]
    if harness.runs_code:
        command.append("--confirm_run_unsafe_code")
    return command


def _samples(folder: Path) -> Iterator[tuple[str, float]]:
    """By the first metric and the first filter of each task; a group's tasks all count."""
    for file in sorted(folder.rglob("samples_*.jsonl")):
        task, first_filter = file.name.rpartition("_")[0], None
        for line in file.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            first_filter = first_filter if first_filter is not None else sample.get("filter", "")
            score = next((sample.get(name) for name in sample.get("metrics", ())), None)
            if sample.get("filter", "") == first_filter and isinstance(score, int | float):
                yield f"{task}:{sample['doc_id']}", float(score)
