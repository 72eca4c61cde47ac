"""Opaque bodies pass exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.inspect.fingerprint import Fingerprint
from gateway.stages.inspect.opaque import Opaque
from tests.unit.stages.inspect.doubles import KEY, call


@given(st.binary(min_size=1))
def test_passes_bytes_exactly(body: bytes) -> None:
    """Every byte and the content type stay; size and digest are known, the rest is not."""
    prompt, out, content_type = Opaque(Fingerprint(KEY))(body, call(headers={b"content-type": b"audio/wav"}))

    assert (body, b"audio/wav") == (out, content_type)
    assert (len(body), Fingerprint(KEY)(body)) == (prompt.size, prompt.fingerprint)
    assert (prompt.model, prompt.document) == (None, None)


def test_passes_no_body() -> None:
    """Nothing is nothing."""
    prompt, out, content_type = Opaque(Fingerprint(KEY))(b"", call("GET", {}))

    assert (prompt.size, prompt.fingerprint, out, content_type) == (0, 0, b"", b"")
