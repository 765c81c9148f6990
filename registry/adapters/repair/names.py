"""Tensor names as wrappers of training left them, and as engines want them: `base_model.model.<module>.lora_A.weight`.

An engine passes over a name that it does not know, and serves the base. Each repair renames; none changes a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from registry.adapters.inspect.formats import foreign_format
from registry.adapters.repair.draft import PREFIX, Ground, Repair, RepairDraft, Repaired, half_of, some
from registry.errors import AdapterRefused, Finding
from registry.storage.safetensors_header import TensorEntry, clip

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
"""Parts of a path that torch.compile, FSDP, activation checkpointing and engines of training put in, anywhere."""

OUTER = (PREFIX, "module.", "model.")
"""What wrapping a whole model puts before every path: PEFT (once or twice), DDP, and a training loop's own class."""

INNER = "language_model"
"""What models of pictures and text call the part that writes; a base of text alone has no such part, or elsewhere."""

FILE = "adapter_model.safetensors"


def refuse_foreign_format(draft: RepairDraft, ground: Ground) -> Repaired:
    """No names of other programs are translated: their numbers may mean something else. Raises `AdapterRefused`."""
    foreign = foreign_format(draft.tensors)
    if foreign is not None:
        raise AdapterRefused((foreign,))
    return draft, ()


def strip_adapter_name(draft: RepairDraft, ground: Ground) -> Repaired:
    """`lora_A.default.weight` → `lora_A.weight`. Raises `AdapterRefused` when the file holds several adapters."""
    names = {parts["adapter"] for name in draft.tensors if (parts := half_of(name))}
    if names <= {None}:
        return draft, ()
    if len(names) > 1:
        found = "tensors of several adapters: " + ", ".join(sorted(clip(name or "(no name)", 40) for name in names))
        expected = "one adapter; save it alone with save_pretrained(folder, selected_adapters=[NAME])"
        raise AdapterRefused((Finding("several_adapters", FILE, clip(found), expected),))
    (adapter,) = names

    def without(name: str) -> str:
        parts = half_of(name)
        if parts is None:
            return name
        kind = f"lora_{parts['half']}.weight" if name.endswith(".weight") else f"lora_embedding_{parts['half']}"
        return f"{parts['module']}.{kind}"

    return _rename(draft, without, "adapter_name_stripped", f"the adapter's name {adapter!r} was taken out of {{}}")


def strip_wrappers(draft: RepairDraft, ground: Ground) -> Repaired:
    """`_orig_mod.base_model.model.x` → `base_model.model.x`; also `module.`, FSDP's, checkpointing's, PEFT's twice."""
    taken: dict[str, None] = {}

    def without(name: str) -> str:
        inner = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        taken.update(dict.fromkeys(part for part in name.split(".") if part in WRAPPERS))
        path, outer = _unwrap(inner, ground)
        if outer in ([], [PREFIX]):
            return inner
        taken.update(dict.fromkeys(part.rstrip(".") for part in outer if part != PREFIX or outer.count(PREFIX) > 1))
        return PREFIX + path

    renamed = {name: without(name) for name in draft.tensors}
    what = f"{', '.join(repr(part) for part in taken)} of training's wrappers was taken out of {{}}"
    return _rename(draft, lambda name: renamed[name], "wrapper_stripped", what)


def find_language_model(draft: RepairDraft, ground: Ground) -> Repaired:
    """`model.language_model.layers.0.x` → `model.layers.0.x`, or where the base has its language model.

    Only if the base has one module alone of that name behind `model` and `language_model`, for all tensors.
    """
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for module in (*ground.base.linears, *ground.base.embeddings):
        homes[_inside(module)].append(module)
    renamed: dict[str, str] = {}
    for name in draft.tensors:
        path = name.removeprefix(PREFIX)
        parts = half_of(path)
        if parts is None or ground.has(parts["module"]):
            continue
        fitting = homes.get(_inside(parts["module"]), [])
        if len(fitting) != 1 or INNER not in f"{parts['module']}.{fitting[0]}".split("."):
            return draft, ()
        renamed[name] = name[: len(name) - len(path)] + fitting[0] + path.removeprefix(parts["module"])
    what = f"{{}} got the path that the base's language model has ({INNER!r})"
    return _rename(draft, lambda name: renamed.get(name, name), "language_model_found", what)


def _inside(module: str) -> str:
    """The path behind what leads to a language model."""
    parts = module.split(".")
    while len(parts) > 1 and parts[0] in ("model", INNER):
        parts.pop(0)
    return ".".join(parts)


def add_prefix(draft: RepairDraft, ground: Ground) -> Repaired:
    """`layers.0.x.lora_A.weight` → `base_model.model.model.layers.0.x.lora_A.weight`.

    What the base's own paths have before theirs is added where one way alone fits, and it is the same for all tensors.
    """
    lacking = _common_prefix(draft, ground)

    def whole(name: str) -> str:
        path = name.removeprefix(PREFIX)
        if half_of(name) is not None:
            return PREFIX + (path if _known(path, ground) else lacking + path)
        if lacking and ground.values.base_has(lacking + path):
            return PREFIX + lacking + path
        return PREFIX + path if _known(path, ground) or ground.values.base_has(path) else name

    added = lacking if all(name.startswith(PREFIX) for name in draft.tensors) else PREFIX + lacking
    return _rename(draft, whole, "prefix_added", f"{added!r} was put before {{}}, as in the base")


def _known(path: str, ground: Ground) -> bool:
    parts = half_of(path)
    return ground.has(parts["module"] if parts else path.rpartition(".")[0])


def _unwrap(name: str, ground: Ground) -> tuple[str, list[str]]:
    """The path without what wraps it, and what that was; a path of the base is never taken apart."""
    taken: list[str] = []
    path = name
    while not _known(path, ground):
        outer = next((outer for outer in OUTER if path.startswith(outer)), None)
        if outer is None or (outer == "model." and not _leads_home(path.removeprefix(outer), ground)):
            break
        taken.append(outer)
        path = path.removeprefix(outer)
    return path, taken


def _leads_home(path: str, ground: Ground) -> bool:
    return path.startswith(PREFIX) or _known(path, ground)


def _common_prefix(draft: RepairDraft, ground: Ground) -> str:
    """What all paths that the base does not know lack before them; empty when that is not one and the same."""
    ends: defaultdict[str, list[str]] = defaultdict(list)
    for module in (*ground.base.linears, *ground.base.embeddings):
        parts = module.split(".")
        for place in range(1, len(parts) - 1):  # at least two parts must agree
            ends[".".join(parts[place:])].append(".".join(parts[:place]) + ".")
    lacking: set[str] = set()
    for name in draft.tensors:
        halves = half_of(name.removeprefix(PREFIX))
        if halves is not None and not ground.has(halves["module"]):
            fitting = ends.get(halves["module"], [])
            if len(fitting) != 1:
                return ""
            lacking.add(fitting[0])
    return lacking.pop() if len(lacking) == 1 else ""


def _rename(draft: RepairDraft, change: Callable[[str], str], code: str, what: str) -> Repaired:
    """The draft under the new names. Raises `AdapterRefused` when two tensors would have one."""
    renamed: dict[str, TensorEntry] = {}
    changed = 0
    for name, entry in draft.tensors.items():
        new = change(name)
        changed += new != name
        if new in renamed:
            raise AdapterRefused((_collision(new, renamed[new], entry),))
        renamed[new] = entry
    if not changed:
        return draft, ()
    count = f"{changed} tensor name{'s' if changed > 1 else ''}"
    return RepairDraft(draft.config, renamed), (Repair(code, what.format(count)),)


def _collision(name: str, first: TensorEntry, second: TensorEntry) -> Finding:
    found = f"{some([first.name, second.name])}, which are one tensor without what training put around its name"
    return Finding("tensor_ambiguous", FILE, clip(found, 300), "one tensor of each name", clip(name, 200))


NAME_REPAIRS: tuple[Callable[[RepairDraft, Ground], Repaired], ...] = (
    refuse_foreign_format,
    strip_adapter_name,
    strip_wrappers,
    find_language_model,
    add_prefix,
)
"""In the order in which they build on each other."""
