"""The list of dialects, and how their inspectors are made."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.config.routing import Dialect
from gateway.core import dialects
from gateway.core.refusal import Reason
from gateway.stages.inspect.catalog import DIALECTS, build_inspector
from gateway.stages.inspect.generic_json import GenericJson
from gateway.stages.inspect.json_schema import SchemaError
from gateway.stages.inspect.oip import Oip
from gateway.stages.inspect.opaque import Opaque
from gateway.stages.inspect.openai_audio import OpenAiAudio
from gateway.stages.inspect.openai_chat import OpenAiChat
from gateway.stages.inspect.openai_embeddings import OpenAiEmbeddings
from gateway.stages.inspect.openai_models import OpenAiModels
from gateway.stages.inspect.structured import Structured
from gateway.stages.meter import METERS, null_meter
from tests.house.tree import ROOT
from tests.unit.stages.inspect.doubles import KEY, call, chat, reason

NEVER_CROSS = {
    b"authorization",
    b"proxy-authorization",
    b"cookie",
    b"set-cookie",
    b"dpop",
    b"x-api-key",
    b"anthropic-workspace-id",
    b"anthropic-organization-id",
    b"openai-organization",
    b"openai-project",
    b"idempotency-key",
    b"accept-encoding",
    b"connection",
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"location",
    b"www-authenticate",
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("openai.chat", OpenAiChat),
        ("openai.embeddings", OpenAiEmbeddings),
        ("openai.models", OpenAiModels),
        ("openai.completions", Structured),
        ("openai.responses", Structured),
        ("openai.moderations", Structured),
        ("openai.images", Structured),
        ("anthropic.messages", Structured),
        ("anthropic.count_tokens", Structured),
        ("openai.audio", OpenAiAudio),
        ("oip", Oip),
        ("json", GenericJson),
        ("opaque", Opaque),
    ],
)
def test_makes_the_inspector_of_each_dialect(name: str, kind: type) -> None:
    """Every name means its own inspector."""
    assert isinstance(build_inspector(name, fingerprint_key=KEY), kind)


def test_has_a_meter_for_each_dialect() -> None:
    """Whoever adds a dialect decides how its answers are metered."""
    assert DIALECTS.keys() == METERS.keys()
    assert {name for name, meter in METERS.items() if meter is null_meter} == dialects.UNMETERED


def test_the_configuration_knows_each_dialect() -> None:
    """What a route may say is what there is, and what is said about dialects is about those."""
    assert set(get_args(Dialect)) == DIALECTS.keys()
    assert set().union(*(value for value in vars(dialects).values() if isinstance(value, frozenset))) <= set(
        DIALECTS
    )


def test_the_page_names_each_dialect() -> None:
    """docs/dialects.md has a row for every dialect."""
    page = (ROOT / "docs/dialects.md").read_text()

    assert [] == [name for name in DIALECTS if f"\n| `{name}` | " not in page]


@pytest.mark.parametrize("name", DIALECTS)
def test_lets_no_credential_or_framing_header_cross(name: str) -> None:
    """The allow-lists are lower case and hold nothing that speaks for somebody else."""
    dialect = DIALECTS[name]
    names = dialect.request_headers | dialect.answer_headers

    assert name == dialect.name
    assert not names & NEVER_CROSS
    assert all(header == header.lower() for header in names)


@pytest.mark.parametrize("name", sorted(name for name, one in DIALECTS.items() if one.has_schema))
def test_compiles_the_routes_schema(name: str) -> None:
    """The schema is checked when the configuration is loaded."""
    inspector = build_inspector(name, fingerprint_key=KEY, schema=False)
    path = "/v2/models/m/infer" if name == "oip" else "/"

    assert Reason.SCHEMA_VIOLATION is reason(inspector(chat(), call(path=path)))
    with pytest.raises(SchemaError):
        build_inspector(name, fingerprint_key=KEY, schema={"type": "strnig"})


@pytest.mark.parametrize("name", sorted(name for name, one in DIALECTS.items() if not one.has_schema))
def test_refuses_a_schema_that_nothing_would_ask(name: str) -> None:
    """A constraint that would be silently skipped is an error."""
    with pytest.raises(SchemaError, match="reads no document"):
        build_inspector(name, fingerprint_key=KEY, schema=True)


@pytest.mark.parametrize("name", sorted(name for name, one in DIALECTS.items() if not one.is_extensible))
def test_refuses_extra_fields_where_there_are_none(name: str) -> None:
    """Only a dialect with fields of its own can have extra ones."""
    with pytest.raises(ValueError, match="extra fields"):
        build_inspector(name, fingerprint_key=KEY, extra_fields=True)


def test_refuses_usage_where_there_is_none() -> None:
    """Only chat streams report usage on demand."""
    with pytest.raises(ValueError, match="usage"):
        build_inspector("json", fingerprint_key=KEY, wants_usage=True)


def test_refuses_an_unknown_dialect() -> None:
    """The error lists what there is."""
    with pytest.raises(
        ValueError,
        match=r"unknown dialect 'openai\.chta'; there are .*json, oip, opaque, openai\.audio, openai\.chat",
    ):
        build_inspector("openai.chta", fingerprint_key=KEY)
