"""Exported files to a repository of a hub that speaks Hugging Face's protocol: one commit, or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.errors import first_line
from trainer.base import HUB_ID
from trainer.errors import TrainerError


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where the files are now."""

    repository: str
    commit: str
    url: str


def check_repository(repository: str) -> None:
    """Raises TrainerError for what is no `org/name`."""
    if not HUB_ID.fullmatch(repository):
        raise TrainerError(f"{repository!r} is no repository of a hub; write org/name")


def push(folder: Path, repository: str, message: str) -> Pushed:
    """Commit every file of the folder to `org/name`, which is made, private, where it is not there yet.

    Who may do that is in HF_TOKEN or `hf auth login`, the hub's address in HF_ENDPOINT. Raises TrainerError.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    check_repository(repository)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        done = api.create_commit(
            repository,
            [CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path) for path in files],
            commit_message=message,
        )
    except Exception as failed:  # the hub's own errors, its HTTP library's and OSError share no nearer ancestor
        raise TrainerError(
            f"{folder} could not be pushed to {repository!r}: {first_line(failed)}. The files are still there; check "
            "HF_TOKEN, the name and the network, and push them with `hf upload`, or export anew"
        ) from failed
    return Pushed(repository, str(done.oid), str(done.commit_url))
