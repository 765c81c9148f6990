"""What a bridge is told of the cluster and of the nodes' part."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from trainer.jobs.executors import CHILD

LOST_NODE, NO_CLUSTER = 86, 87
"""Exit status of a bridge when node or cluster were lost while the child worked, and when there was no cluster."""


@dataclass(frozen=True, slots=True)
class Placing:
    """`address` as Ray's own `address`. A job gets so many processors (`threads`) and GPUs of one node; in `folder` of
    that node lie its files and copies of bases. A node that has heard nothing for `patience_s` seconds ends its child,
    which runs `program`.
    """

    address: str
    threads: int
    gpus: float
    niceness: int
    folder: str
    patience_s: float
    program: tuple[str, ...] = CHILD

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Placing:
        """What `to_json` wrote."""
        document: dict[str, Any] = json.loads(text)
        return cls(**document | {"program": tuple(document["program"])})

    @property
    def wanted(self) -> str:
        """In words."""
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.threads} free processors{gpus}"
