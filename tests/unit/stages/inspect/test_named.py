"""Models that are named beside the body."""

from __future__ import annotations

import pytest

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.catalog import build_inspector
from gateway.stages.inspect.named import Named
from tests.unit.stages.inspect.doubles import JSON_HEAD, KEY, call, chat, reason

PATH = "/deployments/{model}/chat/completions"


def inspect(dialect: str, body: bytes, path: str, header: bytes | None = None, pattern: str = PATH) -> object:
    """Inspect a request on a route of a pattern that names the model; the header is `x-model`."""
    inspector = Named(build_inspector(dialect, fingerprint_key=KEY), pattern, b"x-model")
    headers = JSON_HEAD if header is None else JSON_HEAD | {b"x-model": header}
    return inspector(body, call(headers=headers, path=path))


def model(verdict: object) -> str | None:
    """Return the model that a verdict lets pass."""
    assert isinstance(verdict, tuple)
    return verdict[0].model


@pytest.mark.parametrize("header", [None, b"m"])
def test_names_that_agree(header: bytes | None) -> None:
    """Path, header and body say the same; what is not sent says nothing."""
    assert "m" == model(inspect("openai.chat", chat(), "/deployments/m/chat/completions", header))
    assert "m" == model(
        inspect("openai.chat", chat(), "/v1/chat/completions", header, "/v1/chat/completions")
    )


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/deployments/n/chat/completions", None),
        ("/deployments/m/chat/completions", b"n"),
        ("/deployments/M/x", b"m"),
    ],
)
def test_names_that_differ(path: str, header: bytes | None) -> None:
    """One of them is another model: nobody knows which one a server would take."""
    refusal = inspect("openai.chat", chat(), path, header)

    assert isinstance(refusal, Refusal)
    assert (Reason.SCHEMA_VIOLATION, "Path, header and body name different models.") == (
        refusal.reason,
        refusal.detail,
    )


def test_a_name_where_the_dialect_has_none() -> None:
    """Rules about models hold for bodies of any shape, and for lists of models."""
    assert "m" == model(inspect("json", b"{}", "/deployments/m/predict"))
    assert "m" == model(inspect("json", b"{}", "/predict", b"m", "/predict"))
    assert model(inspect("json", b"{}", "/predict", None, "/predict")) is None
    assert Reason.SCHEMA_VIOLATION is reason(inspect("json", b"{}", "/deployments/m/predict", b"n"))


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/deployments/a%20b/x", None),
        ("/deployments/m/x", b""),
        ("/deployments/m/x", b"\xff"),
        ("/deployments//x", None),
    ],
)
def test_what_is_no_name(path: str, header: bytes | None) -> None:
    """Names are as in bodies: printable, without spaces, never empty."""
    assert Reason.SCHEMA_VIOLATION is reason(inspect("json", b"{}", path, header))


def test_the_body_is_still_judged() -> None:
    """What the dialect refuses stays refused."""
    assert Reason.JSON_INVALID is reason(inspect("json", b"{", "/deployments/m/predict"))
