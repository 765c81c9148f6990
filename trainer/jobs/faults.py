"""Why a job has failed, as OpenAI's `{code, message, param}`, with the remedy in the message.

Nothing in it names a path of the worker's machine: tenants read it.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

from registry.training.jobs import JobOrder
from trainer.data.faults import DataError, Fault
from trainer.errors import BaseModelError, RecipeError, TrainerError, TrainingRefused, TrainingStopped
from trainer.jobs.folder import JobFolder
from trainer.jobs.lines import STOPPED, Event, Failed, Line

MOST_FAULTS_TOLD = 50
"""Events about faulty lines; the others are counted."""
OUT_OF_MEMORY = Failed(
    "out_of_memory",
    "the worker ran out of memory; order a smaller batch_size, a smaller training.max_length_tokens or lora.r, "
    'model.tuning = "qlora", or a worker with more memory',
)
DISK_FULL = Failed("disk_full", "the worker's disk is full; its operator has to make room, then order the job again")
TORN = Failed(
    "server_error",
    "the trainer failed, and the reason is in its worker's log; order the job again, and tell the operator if it "
    "happens again",
)
HUNG = Failed(
    "server_error",
    "the trainer said nothing for too long and was ended; order the job again, with a smaller batch_size if its steps "
    "may be that slow, and tell the operator if it happens again",
)
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "cannot allocate memory")
NO_SPACE = ("no space left on device", "disk quota exceeded", "pytorchstreamwriter failed", "file write failed")


def failure_of(error: BaseException, folder: JobFolder, order: JobOrder) -> list[Line] | None:
    """What to say of it, the last line a `Failed`; `None` when nothing failed, and the child was told to stop."""
    if isinstance(error, TrainingStopped) or (isinstance(error, SystemExit) and error.code == STOPPED):
        return None
    if isinstance(error, DataError):
        return list(_of_data(error, folder))
    if not isinstance(error, TrainerError):
        traceback.print_exception(error)
    return [_failed(error, folder, order)]


def is_full(error: BaseException) -> bool:
    """Whether a disk has no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _failed(error: BaseException, folder: JobFolder, order: JobOrder) -> Failed:
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in NO_MEMORY):
        return OUT_OF_MEMORY
    if is_full(error) or any(sign in text for sign in NO_SPACE):
        return DISK_FULL
    message = without_paths(str(error), folder)
    if isinstance(error, BaseModelError):
        return Failed("base_model_unusable", f"the base {order.base!r} does not load on this worker", "model")
    if isinstance(error, RecipeError):
        return Failed("invalid_hyperparameters", message, "hyperparameters")
    if isinstance(error, TrainingRefused):
        return Failed("training_refused", message, "hyperparameters")
    if isinstance(error, TrainerError):
        return Failed("invalid_request", message)
    return TORN


def _of_data(error: DataError, folder: JobFolder) -> Iterator[Line]:
    """An event for each faulty line, and the end."""
    told = [(_param(file), fault) for file, faults in error.files for fault in faults]
    for param, fault in told[:MOST_FAULTS_TOLD]:
        data = {"line": fault.line, "code": fault.code, "param": param}
        yield Event(f"{param}, line {fault.line}: {fault.message} [{fault.code}]", "error", data)
    param = told[0][0] if told else "training_file"
    yield Failed(f"invalid_{param}", _sentence(param, [fault for of, fault in told if of == param]), param)


def _param(file: str) -> str:
    return "validation_file" if Path(file).name == "heldout.jsonl" else "training_file"


def _sentence(param: str, faults: list[Fault]) -> str:
    if not faults:
        return f"{param} cannot be used; see the job's events"
    first = faults[0]
    more = f", and {len(faults) - 1} more faults: see the job's events" if len(faults) > 1 else ""
    return f"{param} cannot be used: line {first.line}: {first.message} [{first.code}]{more}"


def without_paths(text: str, folder: JobFolder) -> str:
    """Names of files as the order calls them."""
    for path, name in (
        (folder.train, "training_file"),
        (folder.heldout, "validation_file"),
        (folder.recipe, "the options"),
        (folder.path, "the job's folder"),
    ):
        text = text.replace(str(path), name)
    return text
