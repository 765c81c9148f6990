"""The API's description as one page: made of the OpenAPI document here, with nothing that a browser would fetch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI

from gateway.api.dialects import BY_PATH

METHODS = ("get", "put", "post", "delete", "patch")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{border-top:1px solid #ccc;padding-top:1rem}h3{font-family:monospace;margin-bottom:0}"
    "table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #ddd;padding:.2rem .6rem;text-align:left;"
    "vertical-align:top}code{font-size:.95em}p{margin:.3rem 0}"
)


def describe_inference(web: FastAPI) -> None:
    """Put the routes that never reach FastAPI into its OpenAPI document."""
    made_by_fastapi = web.openapi

    def openapi() -> dict[str, Any]:
        schema = made_by_fastapi()
        for path, dialect in BY_PATH.items():
            schema["paths"][path] = {
                "post": {
                    "tags": ["inference"],
                    "summary": dialect.summary,
                    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True},
                    "responses": {
                        "200": {"description": "The answer; `x-switchyard-model` names the version that answered"}
                    },
                }
            }
        return schema

    web.openapi = openapi  # type: ignore[method-assign]


def page(document: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document."""
    title = escape(document["info"]["title"])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1>",
        "<p>The same for programs: <a href=openapi.json>openapi.json</a>. What has a * must be there or always is.</p>",
        "<h2>Routes</h2>",
    ]
    for path, item in document["paths"].items():
        parts += (_route(path, method, item[method]) for method in METHODS if method in item)
    parts.append("<h2>Shapes</h2>")
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        parts.append(f"<h3 id='{escape(name)}'>{escape(name)}</h3>{_text(schema)}{_fields(schema)}")
    return "".join(parts)


def _route(path: str, method: str, route: Mapping[str, Any]) -> str:
    body = route.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    answers = "".join(
        f"<tr><td>{escape(status)}<td>{_text(answer)}<td>{_type(_schema_of(answer))}"
        for status, answer in route.get("responses", {}).items()
    )
    parameters = "".join(
        f"<tr><td><code>{escape(one['name'])}</code><td>{escape(one['in'])}{' *' if one.get('required') else ''}"
        f"<td>{_type(one.get('schema', {}))}<td>{_text(one)}"
        for one in route.get("parameters", ())
    )
    return "".join(
        (
            f"<h3>{method.upper()} {escape(path)}</h3>{_text(route) or _text({'description': route.get('summary')})}",
            f"<table><tr><th>parameter<th>in<th>type<th>{parameters}</table>" if parameters else "",
            f"<p>Body: {_type(body)}</p>" if body else "",
            f"<table><tr><th>answer<th><th>type{answers}</table>",
        )
    )


def _schema_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    for content in answer.get("content", {}).values():
        return content.get("schema", {})  # type: ignore[no-any-return]
    return {}


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}<td>{_type(field)}<td>{_text(field)}"
        for name, field in schema.get("properties", {}).items()
    )
    return f"<table><tr><th>field<th>type<th>{rows}</table>" if rows else f"<p>{_type(schema)}</p>"


def _text(node: Mapping[str, Any]) -> str:
    text = node.get("description")
    return f"<p>{escape(text)}</p>" if text else ""


def _type(schema: Mapping[str, Any]) -> str:
    return " or ".join(_types(schema))


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        yield f"<a href='#{name}'>{name}</a>"
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _types(one)
    elif "enum" in schema or "const" in schema:
        yield ", ".join(f"<code>{escape(repr(one))}</code>" for one in schema.get("enum", [schema.get("const")]))
    elif schema.get("type") == "array":
        yield f"list of {_type(schema.get('items', {}))}"
    elif isinstance(schema.get("additionalProperties"), dict):
        yield f"object of {_type(schema['additionalProperties'])}"
    elif "type" in schema:
        yield escape(str(schema["type"]))
