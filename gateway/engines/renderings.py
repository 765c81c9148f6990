"""Does an engine render conversations as its base does? It may have been started with another chat template."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engines.faults import ProbeRefused
from gateway.engines.kind import EngineControl
from registry.bases.renderings import Rendering


async def rendering_difference(control: EngineControl, model: str, renderings: Sequence[Rendering]) -> str | None:
    """Where the engine's rendering departs from the base's, for people; `None` when it is the same everywhere.

    Raises each kind of `EngineFault` but `ProbeRefused`: an engine that refuses to render has no such template.
    """
    for rendering in renderings:
        roles = "+".join(role for role, _ in rendering.conversation.turns)
        try:
            served = await control.tokens.rendered(model, rendering.conversation)
        except ProbeRefused as error:
            return f"it does not render {roles}: {error}"
        if served != rendering.token_ids:
            pairs = zip(served, rendering.token_ids, strict=False)
            place = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
            where = f"from token {place} on" if place is not None else "in length"
            return (
                f"it renders {roles} with {len(served)} tokens where the base's template makes "
                f"{len(rendering.token_ids)}, and they differ {where}"
            )
    return None
