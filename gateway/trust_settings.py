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
    engine_token_bytes: int = Field(
        2_048,
        ge=64,
        description="Bytes of one token of an engine's answer, with the event of the stream around it, at most. A "
        "longer answer than its tokens can have is a breach (`too_long`); raise it for a parser or a plugin of an "
        "engine that says more with each token.",
    )
    engine_breach_window_s: float = Field(60.0, gt=0, description="Seconds in which they count together.")
