"""Arguments of the built-in tools, described once: as a schema for the model, and as a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from whisperfusion.tools.running import ToolError


class NoArguments(BaseModel):
    """For a tool that needs none. What a model invents anyway is ignored."""


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of `model` without titles, which only cost tokens."""
    schema = model.model_json_schema()
    properties = {
        name: {key: value for key, value in one.items() if key not in ("title", "default")}
        for name, one in schema.get("properties", {}).items()
    }
    required = {"required": schema["required"]} if schema.get("required") else {}
    return {"type": "object", "properties": properties, **required}


def check_of(model: type[BaseModel]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Arguments as `model` has them, with its defaults; numbers may be written as text."""

    def check(arguments: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return model.model_validate(given).model_dump()
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            told = [
                f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"
                for one in wrong[:3]
            ]
            raise ToolError(f"wrong arguments: {'; '.join(told)}") from None

    return check
