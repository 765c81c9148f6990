"""The body of an order of a job: every field checked, those that nobody knows refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import (
    Check,
    integer,
    invalid,
    keyed,
    listed,
    missing,
    number,
    one_of,
    pairs,
    shallow,
    text,
    too_many,
)
from gateway.api.fields.faults import Faults, each
from gateway.errors import BadRequest
from gateway.training.models import Trainable
from registry.names import MAX_EXTERNAL_MODEL_LENGTH
from registry.training.jobs import JobOrder, adapter_name

AUTO = "auto"
FIELDS = frozenset(
    {
        "model",
        "training_file",
        "validation_file",
        "method",
        "hyperparameters",
        "suffix",
        "seed",
        "metadata",
        "integrations",
        "switchyard",
    }
)
OPTIONS = "switchyard"
MOST_OPTIONS_BYTES = 65_536
MOST_INTEGRATIONS = 1
"""A training reports to one project of W&B."""
MOST_TAGS = 64
MOST_LABEL_CHARS, MOST_TAG_CHARS = 128, 64
"""Of wandb's, which takes no longer ones."""


class _Body:
    """Reads a body field by field, and gathers what is wrong with it."""

    def __init__(self, body: Mapping[str, Any], caps: Caps) -> None:
        self._given = {name: value for name, value in body.items() if value is not None}
        self._caps = caps
        self.faults = Faults()

    def field(self, name: str, check: Check, otherwise: Any = None, *, required: bool = False) -> Any:
        """Its checked value."""
        if name in self._given:
            try:
                return check(self._given[name], name, self._caps)
            except BadRequest as fault:
                self.faults.add(fault)
        elif required:
            self.faults.add(missing(name))
        return otherwise

    def files(self) -> tuple[Any, Any]:
        """To train with, and to measure with."""
        training = self.field("training_file", text(64, least_chars=1), required=True)
        validation = self.field("validation_file", text(64, least_chars=1))
        if validation is not None and training == validation:
            self.faults.add(
                BadRequest(
                    "'validation_file' is also 'training_file'; rows that are trained on measure nothing. Leave it "
                    "out, and some rows of the training file are held out.",
                    param="validation_file",
                    code="invalid_value",
                )
            )
        return training, validation

    def method(self) -> tuple[Any, dict[str, Any]]:
        """The kind of training, and its hyperparameters, which have two places."""
        kind, hyperparameters = self.field("method", _method, ("supervised", {}))
        old = self.field("hyperparameters", _hyperparameters("supervised"), {})
        if old and (hyperparameters or kind != "supervised"):
            self.faults.add(
                BadRequest(
                    "'hyperparameters' is the old place of 'method.supervised.hyperparameters'; give one of the two.",
                    param="hyperparameters",
                    code="invalid_value",
                )
            )
        return kind, old or hyperparameters

    def options(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        """From both of their places."""
        given: dict[str, Any] = self.field(OPTIONS, _options, {})
        try:
            return with_metadata(given, metadata)
        except BadRequest as fault:
            self.faults.add(fault)
            return given


def order_of(
    body: Mapping[str, Any],
    tenant: str,
    caps: Caps,
    model_of: Callable[[str], Trainable],
    idempotency_key: str | None,
) -> JobOrder:
    """What a body orders; its options are not checked yet. Raises `ApiError`."""
    read = _Body(body, caps)
    model = read.field("model", text(MAX_EXTERNAL_MODEL_LENGTH, least_chars=1), required=True)
    training_file, validation_file = read.files()
    method, hyperparameters = read.method()
    suffix = read.field("suffix", _suffix)
    metadata = read.field("metadata", _metadata)
    options = read.options(metadata or {})
    seed = read.field("seed", integer(0, 2**32 - 1))
    integrations = read.field("integrations", _integrations, ())
    read.faults.settle()
    begins = model_of(model)
    return JobOrder(
        tenant=tenant,
        model=model,
        base=begins.base,
        continues=begins.continues,
        training_file=training_file,
        validation_file=validation_file,
        method=method,
        hyperparameters=hyperparameters,
        adapter=_adapter(options, suffix),
        suffix=suffix,
        seed=seed,
        metadata=metadata,
        integrations=integrations,
        options=options,
        idempotency_key=idempotency_key,
    )


def with_metadata(options: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The options with those that ride in metadata: `switchyard.lora.r` is `lora.r`. A value is JSON, or text.

    Raises `BadRequest` for what is said twice and otherwise.
    """
    merged: dict[str, Any] = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items()
    }
    for key, written in metadata.items():
        mark, *path = key.split(".")
        if mark != OPTIONS or not path:
            continue
        table: Any = merged
        for name in path[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict) or (path[-1] in table and table[path[-1]] != _value(written)):
            raise BadRequest(
                f"'metadata.{key}' says otherwise than '{OPTIONS}' or another key; say it once.",
                param=f"metadata.{key}",
                code="invalid_value",
            )
        table[path[-1]] = _value(written)
    return merged


def _value(written: str) -> Any:
    try:
        return orjson.loads(written)
    except orjson.JSONDecodeError:
        return written


def _adapter(options: Mapping[str, Any], suffix: str | None) -> str | None:
    named = options.get("adapter")
    if isinstance(named, str):
        return named
    return None if suffix is None else adapter_name(suffix)


def _method(value: Any, param: str, caps: Caps) -> tuple[str, dict[str, Any]]:
    """The kind, and its hyperparameters."""
    method = keyed(value, param, frozenset({"type", "supervised", "dpo", "reinforcement"}))
    if "type" not in method:
        raise missing(f"{param}.type")
    kind = one_of("supervised", "dpo", "reinforcement")(method["type"], f"{param}.type", caps)
    if kind == "reinforcement":
        raise BadRequest(
            "'method.type' is 'reinforcement', which is not offered here: no model is trained against a grader. Use "
            "'supervised' with answers that you would have graded well, or 'dpo' with pairs of a better and a worse "
            "one.",
            param="method.type",
            code="unsupported_method",
        )
    others = [name for name in method if name not in ("type", kind)]
    if others:
        raise BadRequest(
            f"'{param}.{others[0]}' does not go with the type '{kind}'. Remove it.",
            param=f"{param}.{others[0]}",
            code="invalid_value",
        )
    if kind not in method:
        return kind, {}
    path = f"{param}.{kind}"
    table = keyed(method[kind], path, frozenset({"hyperparameters"}))
    if "hyperparameters" not in table:
        return kind, {}
    return kind, _hyperparameters(kind)(table["hyperparameters"], f"{path}.hyperparameters", caps)


def _or_auto(check: Check) -> Check:
    def checked(value: Any, param: str, caps: Caps) -> Any:
        return AUTO if value == AUTO else check(value, param, caps)

    return checked


_HYPERPARAMETERS: Mapping[str, Check] = {
    "n_epochs": _or_auto(integer(1, 50)),
    "batch_size": _or_auto(integer(1, 256)),
    "learning_rate_multiplier": _or_auto(number(0, 1_000, above=True)),
    "beta": _or_auto(number(0, 2, above=True)),
}


def _hyperparameters(method: str) -> Callable[[Any, str, Caps], dict[str, Any]]:
    known = frozenset(_HYPERPARAMETERS) - (frozenset() if method == "dpo" else {"beta"})

    def check(value: Any, param: str, caps: Caps) -> dict[str, Any]:
        faults, kept = Faults(), {}
        for name, item in keyed(value, param, known).items():
            try:
                kept[name] = _HYPERPARAMETERS[name](item, f"{param}.{name}", caps)
            except BadRequest as fault:
                faults.add(fault)
        faults.settle()
        return kept

    return check


def _suffix(value: Any, param: str, caps: Caps) -> str:
    suffix = cast("str", text(64, least_chars=1)(value, param, caps))
    if not suffix.isprintable():
        raise invalid(param, "1 to 64 printable characters", suffix)
    return suffix


def _metadata(value: Any, param: str, caps: Caps) -> dict[str, str]:
    found = {key: item for key, item in pairs(value, param, caps).items() if item is not None}
    for key, item in found.items():
        if "\0" in key or "\0" in item:
            raise BadRequest(f"'{param}' has a NUL character in it. Remove it.", param=param, code="invalid_value")
    return found


def _integrations(value: Any, param: str, caps: Caps) -> tuple[dict[str, Any], ...]:
    return tuple(
        each(
            listed(value, param, "integrations", MOST_INTEGRATIONS),
            param,
            lambda item, path: _integration(item, path, caps),
        )
    )


def _integration(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    given = keyed(value, param, frozenset({"type", "wandb"}))
    for name in ("type", "wandb"):
        if name not in given:
            raise missing(f"{param}.{name}")
    one_of("wandb")(given["type"], f"{param}.type", caps)
    path = f"{param}.wandb"
    wandb = keyed(given["wandb"], path, frozenset({"project", "name", "entity", "tags"}))
    if "project" not in wandb:
        raise missing(f"{path}.project")
    kept: dict[str, Any] = {name: _label(wandb[name], f"{path}.{name}", caps) for name in wandb if name != "tags"}
    tags = listed(wandb.get("tags", []), f"{path}.tags", "tags", MOST_TAGS)
    kept["tags"] = each(tags, f"{path}.tags", lambda tag, where: _tag(tag, where, caps))
    return {"type": "wandb", "wandb": kept}


def _label(value: Any, param: str, caps: Caps) -> str:
    """It becomes a variable of a process."""
    label = cast("str", text(MOST_LABEL_CHARS, least_chars=1)(value, param, caps))
    if not label.isprintable():
        raise invalid(param, f"1 to {MOST_LABEL_CHARS} printable characters", label)
    return label


def _tag(value: Any, param: str, caps: Caps) -> str:
    """One of several in a variable, which commas divide."""
    label = _label(value, param, caps)
    if len(label) > MOST_TAG_CHARS or "," in label:
        raise invalid(param, f"1 to {MOST_TAG_CHARS} printable characters without a comma", label)
    return label


def _options(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """An object; what is in it is checked when the method is known."""
    known = keyed(value, param, frozenset(value) if type(value) is dict else frozenset())
    size = len(orjson.dumps(shallow(known, param, caps)))
    if size > MOST_OPTIONS_BYTES:
        raise too_many(param, "bytes", size, MOST_OPTIONS_BYTES)
    return known
