"""What holds between the fields of a response, beyond what holds between a chat's."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import shown
from gateway.api.fields.together import Given, Rule, only_in_a_stream
from gateway.errors import BadRequest


def _one_past(given: Given, caps: Caps) -> None:
    if given.get("conversation") is not None:
        raise BadRequest(
            "Send 'previous_response_id' or 'conversation', not both.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )


def _kept_to_be_fetched(given: Given, caps: Caps) -> None:
    if given["background"] and given.get("store") is False:
        raise BadRequest(
            "'background' needs 'store': the answer is fetched when it is there.",
            param="background",
            code="invalid_value",
        )


def _allows_what_is_offered(given: Given, caps: Caps) -> None:
    choice = given["tool_choice"]
    if type(choice) is not dict or choice["type"] != "allowed_tools":
        return
    offered = {tool["name"] for tool in given.get("tools") or ()}
    for index, tool in enumerate(choice["tools"]):
        if tool["name"] not in offered:
            raise BadRequest(
                f"'tool_choice' allows {shown(tool['name'])}, which 'tools' lacks.",
                param=f"tool_choice.tools[{index}].name",
                code="invalid_value",
            )


RULES: Sequence[tuple[str, Rule]] = (
    ("stream_options", only_in_a_stream),
    ("previous_response_id", _one_past),
    ("background", _kept_to_be_fetched),
    ("tool_choice", _allows_what_is_offered),
)
