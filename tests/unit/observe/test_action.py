"""What operators did, in the audit log: written down harmlessly, chained among records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.revocation import Revocation, Target
from gateway.observe.action import Action, action, adjustment, utc
from gateway.observe.audit import AuditLog
from gateway.observe.chain import Kind, parse
from gateway.observe.verify import verify
from tests.doubles.outside import WALL, ManualClock

if TYPE_CHECKING:
    from pathlib import Path

ROW = Revocation("r-1", Target.SUBJECT, "a|b", WALL, WALL, WALL + 60, "lost laptop", "admin")


def test_an_action_says_everything() -> None:
    """Who, when, what, until when, and how much it ended."""
    read = msgspec.json.decode(action("revoked", "operator token 00", WALL, "r-1", ROW, 7), type=Action)

    assert ("revoked", "operator token 00", "r-1", "subject", "a|b", "lost laptop", "admin", 7) == (
        read.action,
        read.by,
        read.revocation,
        read.target,
        read.value,
        read.reason,
        read.source,
        read.cut,
    )
    assert ("2027-01-15T08:00:00.250Z", "2027-01-15T08:01:00.250Z") == (read.issued_before, read.expires)
    assert read.time == read.issued_before


def test_an_action_about_what_is_gone() -> None:
    """Only its id is known."""
    assert b'"revocation":"r-1"' in action("lifted", "x", WALL, "r-1", None, 0)


@pytest.mark.parametrize("value", ["a\u202eb", "a" * 2000, "lone \ud800 surrogate"])
def test_an_action_is_harmless(value: str) -> None:
    """One short line, whatever an operator was made to write."""
    line = action("revoked", value, WALL, "r-1", Revocation("r-1", Target.SUBJECT, value, WALL), 0)

    assert line.isascii()
    assert b"\n" not in line
    assert len(line) < 1500


def test_dates_that_no_calendar_has() -> None:
    """Are written as the number that they are."""
    assert "1e+300" == utc(1e300)


def test_actions_are_chained_among_records(tmp_path: Path) -> None:
    """In their order, under a kind of their own; the verifier counts them, and an edit is found."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, clock=ManualClock())
    for number in range(3):
        log.append(b'{"id":"%d"}' % number)
        log.append_action(b'{"time":"","action":"%d","by":"x","revocation":"r"}' % number)
    assert log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    kinds = [parse(line).kind for line in lines]
    report = verify(path)
    path.write_bytes(b"".join(lines).replace(b'"action":{', b'"record":{', 1))

    assert [Kind.RECORD, Kind.ACTION] * 3 == kinds
    assert (True, 3, 3) == (report.is_intact, report.records, report.actions)
    assert not verify(path).is_intact


def test_what_was_forgiven_is_said_harmlessly() -> None:
    """Whose limit, how much was asked for and taken; controls and surrogates of an operator's words are escapes."""
    known = {"claim:team": "bl\u202eue", "model": "\ud800"}
    line = adjustment(
        "granted", "me", WALL, "a|b", "chat/tokens 9/day", known=known, asked=7, taken=0, reason="r"
    )
    read = msgspec.json.decode(line, type=Action)

    assert b"\\u202e" in line
    assert ("granted", "subject", "a|b", "chat/tokens 9/day", 7, 0, "r", "") == (
        read.action, read.target, read.value, read.limit, read.asked, read.taken, read.reason, read.revocation,
    )  # fmt: skip
    assert {"claim:team": "bl\u202eue", "model": "\\ud800"} == read.known
