"""The schemas that come with the gateway, read from beside this module.

Closed by default: a member that the schema does not know is refused. `extra_fields` opens exactly the
places where clients of self-hosted servers put extensions, and there only under plain names: the top level,
`$defs/message`, and kinds of tools and content that lead to `$defs/unknown`.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import msgspec

from gateway.stages.inspect.json_schema import JsonSchema

# Plain lower case: a backend that folds case ("Model") must not see a second spelling of a member.
_PLAIN_NAMES: Final[dict[str, object]] = {"pattern": "^[a-z][a-z0-9_]{0,63}$"}


def load_builtin(name: str, *, extra_fields: bool = False) -> JsonSchema:
    """Compile one of the schemas that come with the gateway.

    Args:
        name: The dialect's name.
        extra_fields: True lets members pass that the schema does not know, at the top level and in
            messages, and tools and content of kinds that it does not know. They are re-serialised, but
            nothing has checked them.

    Returns:
        The schema.
    """
    schema = _source(name)
    definitions = msgspec.convert(schema.get("$defs", {}), dict[str, dict[str, object]])
    if extra_fields:
        del schema["additionalProperties"]
        schema["propertyNames"] = _PLAIN_NAMES
        if "message" in definitions:
            del definitions["message"]["additionalProperties"]
            definitions["message"]["propertyNames"] = _PLAIN_NAMES
        if "unknown" in definitions:
            definitions["unknown"] = {"propertyNames": _PLAIN_NAMES}
    if definitions:
        schema["$defs"] = definitions
    return JsonSchema(schema)


def _source(name: str) -> dict[str, object]:
    """Read a schema, and the definitions that it shares with another one (`definitions_of`)."""
    file = resources.files("gateway.stages.inspect").joinpath("schemas", f"{name}.json")
    schema = msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    other = schema.pop("definitions_of", None)
    if other is not None:
        schema["$defs"] = _source(str(other))["$defs"]
    return schema
