"""Which dialects there are, and what each lets cross beside the body.

The one list that configuration and composition read. Header names are allow-lists: what is not here
(or in the route) stays on its side. Neither `authorization`, `cookie` nor anything that selects a
tenant or account at the backend is ever among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from gateway.stages.inspect import (
    anthropic_messages,
    generic_json,
    oip,
    opaque,
    openai_audio,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_models,
    openai_moderations,
    openai_responses,
)
from gateway.stages.inspect.fingerprint import Fingerprint
from gateway.stages.inspect.json_schema import JsonSchema, SchemaError
from gateway.stages.inspect.structured import Structured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.ports import Inspector
    from gateway.core.prompt import Prompt

# No accept-encoding: what the meter and the guards read must come as plain bytes.
_OPENAI_REQUEST: Final = frozenset({b"accept", b"openai-beta"})
_ANTHROPIC_REQUEST: Final = frozenset({b"accept", b"anthropic-beta", b"anthropic-version"})
_PLAIN_ANSWER: Final = frozenset({
    b"cache-control",
    b"content-encoding",
    b"content-language",
    b"content-type",
    b"retry-after",
})  # fmt: skip
_OPENAI_ANSWER: Final = _PLAIN_ANSWER | {
    b"openai-model",
    b"openai-processing-ms",
    b"openai-version",
    b"x-request-id",
}
_ANTHROPIC_ANSWER: Final = _PLAIN_ANSWER | {b"request-id"}
_FILE_ANSWER: Final = _PLAIN_ANSWER | {
    b"accept-ranges",
    b"content-disposition",
    b"content-range",
    b"etag",
    b"last-modified",
}


@final
@dataclass(frozen=True, slots=True)
class Dialect:
    """What a dialect is, apart from its inspector.

    Args:
        name: As in the configuration.
        request_headers: Lower-case names that go on to the backend.
        answer_headers: Lower-case names that go back to the client.
        has_schema: True if a route may add a schema of its own.
        is_extensible: True if a route may let unknown members pass.
    """

    name: str
    request_headers: frozenset[bytes]
    answer_headers: frozenset[bytes]
    has_schema: bool = False
    is_extensible: bool = False


# Dialects that have nothing but a schema and a function that reads the prompt.
_OPENAI: Final[Mapping[str, Callable[[object, int, int], Prompt]]] = {
    module.NAME: module.read
    for module in (openai_completions, openai_responses, openai_moderations, openai_images)
}
_ANTHROPIC: Final[Mapping[str, Callable[[object, int, int], Prompt]]] = {
    anthropic_messages.NAME: anthropic_messages.read,
    anthropic_messages.COUNT_NAME: anthropic_messages.read,
}
_STRUCTURED: Final = {**_OPENAI, **_ANTHROPIC}

_ALL: Final = (
    Dialect(openai_chat.NAME, _OPENAI_REQUEST, _OPENAI_ANSWER, has_schema=True, is_extensible=True),
    Dialect(openai_embeddings.NAME, _OPENAI_REQUEST, _OPENAI_ANSWER, has_schema=True, is_extensible=True),
    Dialect(openai_models.NAME, _OPENAI_REQUEST, _OPENAI_ANSWER),
    *(
        Dialect(name, _OPENAI_REQUEST, _OPENAI_ANSWER, has_schema=True, is_extensible=True)
        for name in _OPENAI
    ),
    *(
        Dialect(name, _ANTHROPIC_REQUEST, _ANTHROPIC_ANSWER, has_schema=True, is_extensible=True)
        for name in _ANTHROPIC
    ),
    Dialect(openai_audio.NAME, _OPENAI_REQUEST, _OPENAI_ANSWER),
    Dialect(
        oip.NAME,
        frozenset({b"accept", oip.LENGTH}),
        _PLAIN_ANSWER | {oip.LENGTH},
        has_schema=True,
    ),
    Dialect(generic_json.NAME, frozenset({b"accept"}), _PLAIN_ANSWER, has_schema=True),
    Dialect(opaque.NAME, frozenset({b"accept", b"content-encoding", b"range"}), _FILE_ANSWER),
)
DIALECTS: Final = {dialect.name: dialect for dialect in _ALL}


def build_inspector(
    dialect: str,
    *,
    fingerprint_key: bytes | None,
    schema: object | None = None,
    extra_fields: bool = False,
    wants_usage: bool = False,
) -> Inspector:
    """Compile the body checks of one route.

    Args:
        dialect: One of `DIALECTS`.
        fingerprint_key: 1 to 64 bytes, the same for all workers that count together; None for one
            that counts alone.
        schema: The route's own JSON Schema as parsed from its file, or None.
        extra_fields: True lets members pass that the dialect's own schema does not know.
        wants_usage: True asks for usage in every chat stream; other dialects have no such thing.

    Returns:
        The inspector.

    Raises:
        SchemaError: The schema is not usable, or the dialect takes none.
        ValueError: The dialect is unknown, or cannot do what is asked.
    """
    known = DIALECTS.get(dialect)
    if known is None:
        raise ValueError(f"unknown dialect {dialect!r}; there are {', '.join(sorted(DIALECTS))}")
    if schema is not None and not known.has_schema:
        raise SchemaError(f"the dialect {dialect} reads no document that a schema could describe")
    if extra_fields and not known.is_extensible:
        raise ValueError(f"the dialect {dialect} has no fields of its own; extra fields mean nothing")
    if wants_usage and dialect != openai_chat.NAME:
        raise ValueError(f"the dialect {dialect} has no stream whose usage could be asked for")
    fingerprint = Fingerprint(fingerprint_key)
    compiled = None if schema is None else JsonSchema(schema)
    if dialect == openai_chat.NAME:
        return openai_chat.OpenAiChat(
            fingerprint, schema=compiled, extra_fields=extra_fields, wants_usage=wants_usage
        )
    if dialect in _STRUCTURED:
        read = _STRUCTURED[dialect]
        return Structured(dialect, read, fingerprint, schema=compiled, extra_fields=extra_fields)
    return _other(dialect, fingerprint, compiled, extra_fields=extra_fields)


def _other(
    dialect: str, fingerprint: Fingerprint, schema: JsonSchema | None, *, extra_fields: bool
) -> Inspector:
    if dialect == openai_embeddings.NAME:
        return openai_embeddings.OpenAiEmbeddings(fingerprint, schema=schema, extra_fields=extra_fields)
    if dialect == openai_models.NAME:
        return openai_models.OpenAiModels()
    if dialect == openai_audio.NAME:
        return openai_audio.OpenAiAudio(fingerprint)
    if dialect == oip.NAME:
        return oip.Oip(fingerprint, schema=schema)
    if dialect == generic_json.NAME:
        return generic_json.GenericJson(fingerprint, schema=schema)
    return opaque.Opaque(fingerprint)
