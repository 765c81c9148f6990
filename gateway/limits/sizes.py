"""What a request can use at most, of what that is made up, and what would make it small enough for a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from registry.catalog.snapshot import TariffEntry
from registry.money import most_nano

Units = Literal["rate_tokens", "tokens", "nano"]


class Size(NamedTuple):
    """`rate_prompt` is a guess, for the limit per minute; `prompt` is a bound, for budgets; both of all prompts."""

    rate_prompt: int = 0
    prompt: int = 0
    answer: int = 0
    """Tokens that each answer may have."""
    answers: int = 1
    """For each prompt."""
    prompts: int = 1
    bound: str | None = None
    """What the client can say to have shorter answers, if they are not as short as possible by us."""
    tools: bool = False
    """Whether tools are a part of the prompt."""
    least_rate_prompt: int = 0
    least_prompt: int = 0
    """Of the shortest prompt that a request can have."""
    price: TariffEntry | None = None
    bound_prompt: int = 0
    """What `prompt` would be had no engine counted it: by the bytes of the body."""

    def most(self, units: Units) -> int:
        """The most that it can use; no `nano` when no price is known."""
        answers = self.answer * self.answers * self.prompts
        if units == "rate_tokens":
            return self.rate_prompt + answers
        if units == "tokens":
            return self.prompt + answers
        return 0 if self.price is None else most_nano(self.prompt, answers, self.price)

    def description(self) -> str:
        """Of what its answers are made up, when that is more than its prompt: ` (20 prompts, each …)`; else nothing."""
        if self.answer * self.answers * self.prompts <= self.rate_prompt:
            return ""
        counts = [
            f"{count} {what}" for count, what in ((self.prompts, "prompts"), (self.answers, "answers")) if count > 1
        ]
        of_each = f"up to {self.answer} tokens of answer" + (" each" if counts else "")
        by = f", by {self.bound}" if self.bound and not self.bound.endswith(")") else ""
        return f" ({', '.join((*counts, of_each))}{by})"

    def remedy(self, units: Units, most: int) -> str | None:
        """What to send for it to need `most` at most; `None` when nothing that can be sent is so small."""
        steps = list(self._steps())
        alone = [what for what, size in steps if size.most(units) <= most]
        if alone:
            return f"Send {' or '.join(alone)}"
        least = self._replace(prompts=1, answers=1, answer=min(self.answer, 1), prompt=self.least_prompt)
        if least._replace(rate_prompt=self.least_rate_prompt).most(units) <= most:
            return f"Send {' and '.join(what for what, _ in steps)}"
        return None

    def _steps(self) -> Iterator[tuple[str, Size]]:
        if self.bound is not None:
            yield f"a smaller {self.bound}", self._replace(answer=1)
        if self.answers > 1:
            yield "a smaller n", self._replace(answers=1)
        if self.prompts > 1:
            rate_prompt, prompt = self.rate_prompt // self.prompts, self.prompt // self.prompts
            yield "fewer prompts", self._replace(prompts=1, rate_prompt=rate_prompt, prompt=prompt)
        shorter = "shorter prompts" if self.prompts > 1 else "a shorter prompt"
        shorter += " with fewer tools" if self.tools else ""
        yield shorter, self._replace(rate_prompt=self.least_rate_prompt, prompt=self.least_prompt)
