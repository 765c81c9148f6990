"""The checklist of a data file: consistency, diversity, completeness and form of what can be read.

Each check is a function of the rows that yields findings. Facts are counted, and what seems wrong is said with lines;
whether an answer is true, only a person can tell (`sample.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from registry.words import many
from trainer.data.answers import Kind, ends, is_broken, is_long, json_value, kind_of
from trainer.data.findings import Finding, finding
from trainer.data.near import compared_share, near_groups
from trainer.data.overlap import Row, normal
from trainer.data.read import Dataset
from trainer.data.rows import Example

LEAST_ROWS, FEW_ROWS = 10, 50
"""What OpenAI's fine-tuning asks for at least, and below which a model rather learns rows by heart."""
MOST = 0.8
"""Share from which what answers have in common counts as their form."""
MOST_LABELS = 50
UNBALANCED = 0.9
MANY_COPIES = 0.2
SHORT_SHARE = 0.1


@dataclass(frozen=True)
class Rows:
    """A data set as checks see it."""

    data: Dataset
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, data: Dataset, rows: Sequence[Row]) -> Rows:
        """The rows must be the data set's."""
        return cls(data, tuple(rows))

    @property
    def examples(self) -> tuple[Example, ...]:
        """Every answer with what was asked."""
        return self.data.examples

    @cached_property
    def kinds(self) -> list[Kind]:
        """Of each example's answer."""
        return ["tool call" if one.tool_calls else kind_of(one.completion) for one in self.examples]

    @cached_property
    def labels(self) -> Counter[str]:
        """How often each answer comes, where they are few and short: the labels of a classification."""
        counts = Counter(normal(example.answer.text) for example in self.examples)
        few = len(counts) <= min(MOST_LABELS, max(2, len(self.examples) // 3))
        return counts if few and all(not is_long(label) for label in counts) else Counter()

    @cached_property
    def near(self) -> list[int]:
        """For each row the place of the first that asks nearly the same."""
        return near_groups([row.asked for row in self.rows])


def few_rows(rows: Rows) -> Iterator[Finding]:
    """Volume."""
    count = len(rows.rows)
    if count < LEAST_ROWS:
        yield finding(
            "warn",
            "few_rows",
            f"{many(count, 'row')} to learn from; what fewer than {LEAST_ROWS} teach rarely holds: add rows",
        )
    elif count < FEW_ROWS:
        text = f"{count} rows to learn from; fewer than {FEW_ROWS} are rather learnt by heart: watch the held-out loss"
        yield finding("warn", "few_rows", text)


def copies(rows: Rows) -> Iterator[Finding]:
    """Diversity: rows that are there twice, exactly or nearly."""
    first: dict[object, int] = {}
    later: list[int] = []
    for row in rows.rows:
        if first.setdefault(row.whole, row.line) != row.line:
            later.append(row.line)
    if len(first) == 1 and later:
        yield finding("error", "all_copies", f"all {len(rows.rows)} rows are the same one; add other rows")
        return
    if later:
        text = f"exact copies of earlier rows: {len(later):,} of {many(len(rows.rows), 'row')}"
        more = len(later) > MANY_COPIES * len(rows.rows)
        yield finding("warn", "exact_copies", text + ("; remove them, or they count twice" if more else ""), later)
    prompts = [row.prompts[-1] for row in rows.rows]
    near = [
        row.line
        for place, row in enumerate(rows.rows)
        if (at := rows.near[place]) != place and prompts[at] != prompts[place]
    ]
    if near:
        text = f"ask nearly what an earlier row asks: {len(near):,} of {many(len(rows.rows), 'row')}"
        yield finding("warn" if len(near) > MANY_COPIES * len(rows.rows) else "info", "near_copies", text, near)
    compared = compared_share([row.asked for row in rows.rows])
    if compared < 1:
        yield finding("info", "near_sample", f"{compared:.0%} of the different prompts are compared for near copies")


def contradictions(rows: Rows) -> Iterator[Finding]:
    """Consistency: the same question with different answers."""
    answers: dict[bytes, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows.rows:
        for prompt, example in zip(row.prompts, row.examples, strict=True):
            answers[prompt][normal(example.answer.text)].append(row.line)
    several = [found for found in answers.values() if len(found) > 1]
    if several:
        lines = [line for found in several for lines in found.values() for line in lines]
        text = f"{many(len(several), 'prompt')} with different answers in different rows; decide which one is right"
        yield finding("warn", "different_answers", text, lines)


def unlike_answers(rows: Rows) -> Iterator[Finding]:
    """Consistency: nearly the same question, answered in another form, or with another label."""
    kinds = {example.line: kind for example, kind in zip(rows.examples, rows.kinds, strict=True)}
    groups: dict[int, list[Row]] = defaultdict(list)
    for row, leader in zip(rows.rows, rows.near, strict=True):
        groups[leader].append(row)
    several = [group for group in groups.values() if len({row.prompts[-1] for row in group}) > 1]
    forms = [group for group in several if len({kinds[row.line] for row in group}) > 1]
    if forms:
        text = (
            f"{many(len(forms), 'question')} asked in nearly the same words, and answered in different forms; use one"
        )
        yield finding("warn", "different_forms", text, (row.line for group in forms for row in group))
    unlike = [group for group in several if len({normal(row.examples[-1].answer.text) for row in group}) > 1]
    if rows.labels and unlike:
        text = f"{many(len(unlike), 'question')} in nearly the same words with different labels; see if they are right"
        yield finding("info", "different_labels", text, (row.line for group in unlike for row in group))


def forms(rows: Rows) -> Iterator[Finding]:
    """Format: answers that are no JSON among JSON, and JSON with other keys than the rest."""
    kinds = Counter(rows.kinds)
    if not rows.examples:
        return
    common, count = kinds.most_common(1)[0]
    rest = [one.line for one, kind in zip(rows.examples, rows.kinds, strict=True) if kind not in (common, "tool call")]
    if rest and common == "json" and count >= MOST * len(rows.examples):
        text = f"no JSON, as the other answers are: {many(len(rest), 'answer')} of {len(rows.examples):,}; correct this"
        yield finding("warn", "not_json", text, rest)
    keys: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for one, kind in zip(rows.examples, rows.kinds, strict=True):
        value = json_value(one.completion) if kind == "json" else None
        if isinstance(value, dict):
            keys[tuple(sorted(value))].append(one.line)
    if len(keys) > 1:
        usual = max(keys, key=lambda names: len(keys[names]))
        others = [line for names, lines in keys.items() if names != usual for line in lines]
        if len(keys[usual]) >= MOST * (len(keys[usual]) + len(others)):
            names = ", ".join(usual)[:100]
            text = f"other keys than the rest ({names}) in {many(len(others), 'JSON answer')}; correct this"
            yield finding("warn", "other_keys", text, others)


def labels(rows: Rows) -> Iterator[Finding]:
    """Diversity: one label, or nearly always the same one."""
    different = {normal(example.answer.text) for example in rows.examples}
    if len(different) == 1 and len(rows.examples) > 1:
        text = "every answer is the same, so a model learns to say it whatever is asked; add rows with other answers"
        yield finding("warn", "one_label", text)
    elif rows.labels:
        label, count = rows.labels.most_common(1)[0]
        if count > UNBALANCED * len(rows.examples):
            share = count / len(rows.examples)
            text = (
                f"{share:.0%} of the answers are {label[:40]!r}; add rows with the other {len(rows.labels) - 1} labels"
            )
            yield finding("warn", "unbalanced_labels", text)


def completeness(rows: Rows) -> Iterator[Finding]:
    """Answers that are cut off, or far shorter than the others."""
    texts = [(one.line, one.completion) for one in rows.examples if not one.tool_calls]
    broken = [line for line, text in texts if is_broken(text)]
    if broken:
        text = f"a code block or JSON that does not end, in {many(len(broken), 'answer')}; complete this"
        yield finding("warn", "broken_answers", text, broken)
    long = [(line, text) for line, text in texts if is_long(text)]
    finished = sum(ends(text) for _, text in long)
    cut = [line for line, text in long if not ends(text) and line not in set(broken)]
    if cut and finished >= MOST * len(long):
        text = f"{many(len(cut), 'answer')} that end in the middle of a sentence, as the others do not; complete this"
        yield finding("warn", "cut_off_answers", text, cut)
    if len(long) >= MOST * max(1, len(texts)):
        usual = median(len(text) for _, text in texts)
        short = [line for line, text in texts if len(text.strip()) < SHORT_SHARE * usual]
        if short:
            text = (
                f"{many(len(short), 'answer')} far shorter than usual ({usual:.0f} characters); see whether all is said"
            )
            yield finding("warn", "short_answers", text, short)


Check = Callable[[Rows], Iterator[Finding]]
CHECKLIST: tuple[Check, ...] = (few_rows, copies, contradictions, unlike_answers, forms, labels, completeness)
