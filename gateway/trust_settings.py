"""Settings of how far an engine's answers are believed."""

from __future__ import annotations

from pydantic import Field

from registry.settings import RegistrySettings


class TrustSettings(RegistrySettings):
    """Read by the gateway and the controller."""

    engine_breaches: int = Field(
        5,
        ge=1,
        description="So many answers of an engine that none of its kind gives (no count of tokens, more tokens than "
        "the request can use, another model's name, what is no HTTP; `breaches` of `switchyard fleet --json`) within "
        "engine_breach_window_s, and it is refused: it takes no traffic until it has answered our own questions as it "
        "should.",
    )
    engine_breach_window_s: float = Field(60.0, gt=0, description="Seconds in which they count together.")
