"""The model list takes no body."""

from __future__ import annotations

from gateway.core.refusal import Reason
from gateway.stages.inspect.openai_models import OpenAiModels
from tests.unit.stages.inspect.doubles import call, reason


def test_passes_without_a_body() -> None:
    """No body in, no body and no content type out."""
    verdict = OpenAiModels()(b"", call("GET", {}))

    assert isinstance(verdict, tuple)
    assert (verdict[0].model, *verdict[1:]) == (None, b"", b"")


def test_refuses_any_body() -> None:
    """A body that nobody expects would be a body that nobody checks."""
    assert Reason.BODY_UNEXPECTED is reason(OpenAiModels()(b"{}", call("GET")))
