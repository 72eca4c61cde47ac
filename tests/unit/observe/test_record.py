"""The record of an exchange."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.exchange import Exchange, Outcome
from gateway.core.limits import Ledger
from gateway.core.refusal import LimitState, Reason, Refusal, Source
from gateway.core.signals import Risk, Signal
from gateway.observe import encoder as module
from gateway.observe.encoder import RecordEncoder
from gateway.observe.record import Record, Who
from tests.unit.observe.exchanges import ALICE, arrived, malformed, refused, served


def decoded(ex: Exchange) -> dict:
    """Encode an exchange and read it back."""
    return msgspec.json.decode(RecordEncoder()(ex))


def test_a_served_exchange_is_recorded_whole() -> None:
    """Who asked what, who allowed it, what it used, and where the time went."""
    record = decoded(served())

    assert record == {
        "time": "2023-11-14T22:13:20.250Z",
        "id": "0192f3a4b5c6d7e8f90a1b2c3d4e5f60",
        "outcome": "served",
        "status": 200,
        "method": "POST",
        "path": "/v1/chat/completions",
        "route": "chat",
        "rule": "researchers-by-day",
        "model": "llama-3-8b",
        "stream": True,
        "who": {
            "key": "https://idp.example.org|alice",
            "issuer": "https://idp.example.org",
            "subject": "alice",
            "methods": ["jwt", "mtls"],
            "roles": ["researcher"],
            "certificate": "fingerprint",
            "token": "0123456789abcdef",
            "token_id": "jti-1",
            "client_id": "app",
        },
        "peer": "10.0.0.1",
        "certificate": "fingerprint",
        "tls": "TLSv1.3",
        "endpoint": "10.0.1.5:8000",
        "assertion": "assertion-1",
        "bytes_in": 1000,
        "bytes_out": 512,
        "input_tokens": 10,
        "output_tokens": 12,
        "events": 14,
        "us": record["us"],
        "configuration": "c0ffee",
    }
    assert list(record) == [name for name in Record.__struct_fields__ if name in record]
    assert 500_000 == record["us"]["total"]
    assert record["us"]["total"] == pytest.approx(sum(record["us"].values()) - record["us"]["total"], abs=8)


def test_a_refusal_says_why() -> None:
    """Reason, source, rule, note, the limits involved."""
    limit = LimitState("per-minute", 60, 60.0, 0, 12.0)
    refusal = Refusal(
        Reason.RATE_EXCEEDED, "detail", note="note", source=Source.GATEWAY, rule="per-minute", limits=(limit,)
    )
    ex = refused(refusal, identity=ALICE)
    ex.fault = "KeyError"
    record = decoded(ex)

    assert ("rate-exceeded", "gateway", "per-minute") == (record["reason"], record["source"], record["rule"])
    assert ("note", "per-minute", "KeyError") == (record["note"], record["limit"], record["fault"])
    assert [
        {"name": "per-minute", "quota": 60, "window": 60.0, "remaining": 0, "reset": 12.0, "unit": "requests"}
    ] == record["limits"]


def test_a_break_off_keeps_the_rule_that_had_allowed() -> None:
    """A refusal without a rule does not hide who permitted the request; its detail stands in for a note."""
    ex = served()
    ex.outcome, ex.refusal = Outcome.FAILED, Refusal(Reason.BACKEND_DIED, "The model stopped.")
    record = decoded(ex)

    assert ("researchers-by-day", "The model stopped.") == (record["rule"], record["note"])


def test_bytes_that_were_no_request_are_recorded() -> None:
    """There is a peer and an outcome, and nothing else."""
    record = decoded(malformed())

    assert {"time", "id", "outcome", "status", "peer", "us"} == set(record)


def test_risk_and_local_limits_are_recorded() -> None:
    """Signals with their evidence, and whether a store failed."""
    ex = served()
    ex.risk = Risk(0.123456, (Signal("denied-probing", 0.5, "5 of 9"),))
    ex.ledger = Ledger(is_local=True)
    record = decoded(ex)

    assert 0.1235 == record["risk"]
    assert [{"name": "denied-probing", "strength": 0.5, "evidence": "5 of 9"}] == record["signals"]
    assert record["is_local_limit"] is True


STAMPS = ("identified_at", "entered_at", "admitted_at", "inspected_at", "forwarded_at", "answered_at")
NAMES = ("identify", "enter", "limit", "inspect", "decide")


@pytest.mark.parametrize("reached", range(6))
def test_time_is_split_as_far_as_the_exchange_came(reached: int) -> None:
    """A stage that was not reached has no time."""
    ex = served()
    for stamp in STAMPS[reached:]:
        setattr(ex, stamp, 0.0)

    assert {"total", *NAMES[:reached]} == set(decoded(ex)["us"])


def test_client_text_is_bounded_and_harmless() -> None:
    """Lines cannot be forged, terminals not driven, order not reversed; what was cut is named by digest."""
    ex = served(
        model="m\u202e\u2028\x1b[31m\r\n\x7f\x9b" + "x" * 1000, identity=replace(ALICE, subject="\u200b")
    )
    encoded = RecordEncoder()(ex)

    assert encoded.isascii()
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    model = msgspec.json.decode(encoded)["model"]
    assert model.startswith("m\u202e\u2028\x1b[31m\r\n\x7f\x9bxxx")
    assert "characters, sha256 " in model
    assert len(model) < 330


def test_lone_surrogates_are_recorded_as_escapes() -> None:
    """UTF-8 cannot carry them; the record is written all the same."""
    ex = served(identity=replace(ALICE, subject="s\ud800"))
    assert ex.call is not None
    ex.call.path = "/v1/\udcff"
    record = decoded(ex)

    assert "/v1/\\udcff" == record["path"]
    assert "s\\ud800" == record["who"]["subject"]


def test_identities_are_encoded_once_and_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is bounded, and never gives one caller's name to another."""
    monkeypatch.setattr(module, "MAX_IDENTITIES", 2)
    encoder = RecordEncoder()
    for _ in range(2):
        for number in range(5):
            ex = served(identity=replace(ALICE, subject=f"s{number}"))
            first, again = encoder(ex), encoder(ex)

            assert first == again
            assert f"s{number}" == msgspec.json.decode(first)["who"]["subject"]
    assert len(encoder._people) <= 2


def test_identities_without_a_token_are_recorded() -> None:
    """A certificate alone has no token id and no client."""
    who = decoded(served(identity=replace(ALICE, token_id=None, client_id=None)))["who"]

    assert "token_id" not in who
    assert "client_id" not in who


def test_the_record_is_its_own_schema() -> None:
    """What is written can be read back into the same types."""
    record = msgspec.json.decode(RecordEncoder()(served()), type=Record)

    assert "alice" == msgspec.json.decode(record.who, type=Who).subject


@pytest.mark.parametrize(("wall", "expected"), [(0.0, "00.000Z"), (59.9996, "59.999Z"), (60.0005, "00.000Z")])
def test_times_are_cut_to_milliseconds(wall: float, expected: str) -> None:
    """Cut, never rounded into the next second."""
    encoder = RecordEncoder()
    encoder.time(wall - 1)

    assert encoder.time(wall).endswith(expected)


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_any_text_makes_one_printable_line(path: str, model: str, note: str) -> None:
    """Whatever a client sends, the record is one line of valid JSON without controls."""
    ex = served(model=model)
    ex.refusal = Refusal(Reason.SCHEMA_VIOLATION, note=note)
    assert ex.call is not None
    ex.call.path = path
    encoded = RecordEncoder()(ex)
    text = encoded.decode()

    assert not any(c in text for c in "\n\r\x1b\x7f\u2028\u2029\u202e\u2066\x85")
    assert msgspec.json.decode(encoded)["outcome"] == "served"


def test_queries_headers_and_prompts_are_not_recorded() -> None:
    """Canaries in everything that may not be written down."""
    ex = arrived(headers={b"authorization": b"Bearer canary", b"cookie": b"canary"})
    assert ex.call is not None
    ex.call.query = "key=canary"

    assert b"canary" not in RecordEncoder()(ex)
