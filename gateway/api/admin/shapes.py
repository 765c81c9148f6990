"""What several admin routes answer or take, as /docs shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from gateway.api.no_nul import nul_in, with_nul
from registry.audit.order import CURRENT
from registry.days import day_ms
from registry.errors import InvalidInput
from registry.money import dollars_to_nano
from registry.names import check_name

PRINTABLE = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
"""No control characters but tabs and line ends: not every database stores them."""


def who_orders() -> str:
    """The operator whose order is carried out, as the audit log names them."""
    order = CURRENT.get()
    assert order is not None  # every order is in the log before its body is looked at
    return order.ordered.actor


WHO = "Who orders it, kept with the order; left out: the operator whose key this is."
Actor = Annotated[
    str, Field(default_factory=who_orders, min_length=1, max_length=100, pattern=PRINTABLE, description=WHO)
]
ActorQuery = Annotated[
    str, Query(default_factory=who_orders, min_length=1, max_length=100, pattern=PRINTABLE, description=WHO)
]
Reason = Annotated[str, Field(max_length=1000, pattern=PRINTABLE, description="Why; kept with the order.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows in one answer.")]
After = Annotated[str | None, Query(description="`next` of the page before.")]
InForce = Annotated[bool, Field(description="Whether every live worker obeyed within 3 s.")]
Next = Annotated[str | None, Field(description="Send it as `after` to get the next page; null at the end.")]


def _by(check: Callable[[str, str], object]) -> AfterValidator:
    """A rule of the registry for one value; it says what is wrong in its own words, by the field's name."""

    def checked(value: str, info: ValidationInfo) -> str:
        try:
            check(value, info.field_name or "value")
        except InvalidInput as error:
            raise ValueError(error.message) from None
        return value

    return AfterValidator(checked)


Dollars = Annotated[str, _by(dollars_to_nano)]
Day = Annotated[str, _by(day_ms)]
Name = Annotated[str, _by(check_name)]


class Shape(BaseModel):
    """Made from a dataclass of the registry, or from the controller's document."""

    model_config = ConfigDict(from_attributes=True)


class Order(BaseModel):
    """A body. A field that is not known is refused: a typing error must not become a default."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nul(cls, given: Any) -> Any:
        if (path := nul_in(given)) is not None:
            raise with_nul(path or "the body")
        return given


class FailureDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="One sentence with field, value and remedy.")
    type: str = Field(description="As OpenAI's.")
    param: str | None = Field(description="The field at fault.")
    code: str | None = Field(description="Stable and machine-readable, such as controller_away or not_found.")


class Failure(BaseModel):
    """OpenAI's envelope of an error."""

    error: FailureDetail
