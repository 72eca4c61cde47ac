"""`gateway audit`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.json import encode

from gateway.cli import audit as cli
from gateway.core.refusal import Reason, Refusal
from gateway.core.revocation import Revocation, Target
from gateway.observe.action import action, adjustment
from gateway.observe.audit import AuditLog, Signer
from gateway.observe.chain import Head, Kind, link, parse
from gateway.observe.chains import STARTED, Pin, Statement, worker_file
from gateway.observe.encoder import RecordEncoder
from gateway.observe.ledger import Ledger
from tests.unit.observe.exchanges import ALICE, ManualClock, malformed, refused, served
from tests.unit.observe.test_audit import KEY

if TYPE_CHECKING:
    from pathlib import Path

PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def run(*words: str) -> int:
    """Run `gateway audit` and return its exit code."""
    parser = argparse.ArgumentParser()
    cli.add(parser.add_subparsers())
    args = parser.parse_args(["audit", *words])
    code: int = args.run(args)
    return code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of three exchanges, signed."""
    path = tmp_path / "a.jsonl"
    log = AuditLog(path, clock=ManualClock(), signer=Signer(KEY, "k"))
    encode = RecordEncoder()
    refusal = Refusal(Reason.NO_RULE_ALLOWS, note="no rule allows gpt-9\x1b[31m", rule="default")
    for ex in (served(), refused(refusal, identity=ALICE), malformed()):
        log.append(encode(ex))
    assert log.close()
    (tmp_path / "key.pem").write_bytes(PEM)
    return path


def test_an_intact_log_is_proven(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the numbers to compare."""
    assert 0 == run("verify", str(path), "--key", str(path.with_name("key.pem")))
    out = capsys.readouterr().out
    assert out.startswith("INTACT\n  4 lines in 1 file(s), numbers 1 to 4: 3 records")
    assert "1 checkpoint(s) verified; 0 line(s) after the last one" in out


def test_without_a_key_it_says_what_was_not_proven(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chain alone is not a signature."""
    assert 0 == run("verify", str(path))
    out = capsys.readouterr().out
    assert out.startswith("CHAIN INTACT, NOT PROVEN: without --key, ")
    assert "1 checkpoint(s) seen, not verified (no --key)" in out


def test_tampering_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, file and line."""
    path.write_bytes(path.read_bytes().replace(b'"subject":"alice"', b'"subject":"mallo"', 1))

    assert 1 == run("verify", str(path))
    assert (
        "a.jsonl:1: the content does not fit its hash\nNOT INTACT: 1 problem(s)\n" in capsys.readouterr().out
    )


def test_what_a_statement_says_cannot_drive_the_terminal(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who can write the file can name any chain in it; and bytes of an unfinished line are said."""
    statement = Statement("t", [Pin("\x1b[2J.jsonl", 1, "")])
    _, line = link(parse(path.read_bytes().splitlines(keepends=True)[-1]).head, Kind.EVENT, encode(statement))
    with path.open("ab") as file:
        file.write(line + b'{"seq"')

    assert 1 == run("verify", str(path), "--key", str(path.with_name("key.pem")))
    out = capsys.readouterr().out
    assert out.startswith("\\x1b[2J.jsonl:0: the file of this worker's chain is missing\n")
    assert "1 line(s) after the last one; 6 byte(s) of a line that is not finished\n" in out


def test_a_pruned_log_can_be_declared(path: Path) -> None:
    """The oldest lines are gone on purpose."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))

    assert (1, 0) == (run("verify", str(path)), run("verify", "--pruned", str(path)))


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_file_that_is_missing_is_named(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, no traceback."""
    assert 2 == run(command, str(tmp_path / "none.jsonl"))
    assert 2 == run(command, str(tmp_path / "nowhere/none.jsonl"))
    assert [
        line
        for name in ("none.jsonl", "nowhere/none.jsonl")
        for line in (
            f"gateway audit: there is no file {tmp_path / name}",
            "      = mend: give what the configuration calls `audit.path`; a gateway makes it when it starts",
        )
    ] == capsys.readouterr().err.splitlines()


def test_nothing_to_show_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an empty log, or where nothing fits; not among the records."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"")
    codes = [run("show", str(file))]
    log = AuditLog(file, clock=ManualClock())
    log.append(RecordEncoder()(served()))
    assert log.close()
    codes.append(run("show", str(file), "--refused"))

    assert [0, 0] == codes
    assert ("", f"there is nothing to show in {file}\n" * 2) == capsys.readouterr()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no key", "not a public key in PEM"),
        (
            generate_private_key(SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "signed with Ed25519",
        ),
    ],
)
def test_a_wrong_key_is_explained(
    path: Path, content: bytes, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and what is wrong with it."""
    path.with_name("key.pem").write_bytes(content)

    assert 2 == run("verify", str(path), "--key", str(path.with_name("key.pem")))
    assert expected in capsys.readouterr().err


def test_records_are_shown_for_people(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When, how it ended, who, what; for a refusal why, and nothing that drives the terminal."""
    assert 0 == run("show", str(path))
    lines = capsys.readouterr().out.splitlines()

    assert "2023-11-14 22:13:20  200  served       https://idp.example.org|alice  " in lines[0]
    assert lines[0].endswith("POST /v1/chat/completions [llama-3-8b]  500.0 ms  12 tokens")
    assert "refused" in lines[1]
    assert lines[1].endswith("POST /v1/chat/completions  1.0 ms") or lines[1].endswith(" us")
    assert lines[2].strip().startswith("no-rule-allows by default: no rule allows gpt-9\\x1b[31m  id ")
    assert "(10.0.0.1)" in lines[3]
    assert "- (no request)  500 us" in lines[3] or "499 us" in lines[3]
    assert 4 == len(lines)


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--last", "1"], 1), (["--last", "0"], 4), (["--refused"], 3), (["--refused", "--last", "2"], 3)],
)
def test_what_is_shown_can_be_chosen(
    path: Path, words: list[str], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last ones, or what was not served; `--last` counts what is shown."""
    assert 0 == run("show", str(path), *words)
    assert expected == len(capsys.readouterr().out.splitlines())


def test_what_is_no_record_is_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading does not verify, and says so where it stumbles."""
    _, odd = link(Head(), Kind.RECORD, b"[]")
    path.write_bytes(b"garbage\n" + odd)

    assert 0 == run("show", str(path))
    captured = capsys.readouterr()
    assert "" == captured.out
    assert [
        *(f"{path}:{n}: not a record; run `gateway audit verify`" for n in (1, 2)),
        f"there is nothing to show in {path}",
    ] == captured.err.splitlines()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            b'{"time":"t","id":"i","outcome":"served\x1b","status":0,"who":[]}',
            "t  ---  served\\x1b   (unreadable)",
        ),
        (b'{"time":"t","id":"i","outcome":"failed","status":0}', "t  ---  failed       (nobody)"),
    ],
)
def test_odd_records_are_shown_harmlessly(record: bytes, expected: str) -> None:
    """A forged record cannot crash the reader or drive the terminal."""
    decoded = cli.msgspec.json.decode(record.replace(b"\x1b", b"\\u001b"), type=cli.Record)

    assert cli.describe(decoded).startswith(expected)


def test_colours_are_for_terminals(path: Path) -> None:
    """The outcome is coloured, and only that."""
    decoded = cli.msgspec.json.decode(RecordEncoder()(served()), type=cli.Record)
    text = cli.describe(decoded, is_coloured=True)

    assert "\x1b[32mserved     \x1b[0m" in text
    assert 2 == text.count("\x1b")


@pytest.mark.parametrize(("micros", "expected"), [(999, "999 us"), (1000, "1.0 ms"), (1_500_000, "1.5 s")])
def test_durations_have_their_unit(micros: int, expected: str) -> None:
    """As people say them."""
    assert expected == cli._duration(micros)


def test_a_fault_is_shown() -> None:
    """The class of an unexpected exception."""
    ex = refused(Refusal(Reason.INTERNAL))
    ex.fault = "KeyError"
    decoded = cli.msgspec.json.decode(RecordEncoder()(ex), type=cli.Record)

    assert "internal (KeyError)  id " in cli.describe(decoded)


def test_workers_chains_are_one_log(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` reports each under its name; `show` puts the records of all into one order, the last ones."""
    encode = RecordEncoder()
    for number, started in ((1, 1_700_000_300.0), (2, 1_700_000_100.0)):
        chain = AuditLog(worker_file(path, number), clock=ManualClock())
        ex = served()
        ex.started = started
        chain.append(encode(ex))
        assert chain.close()
    ledger = Ledger(path, clock=ManualClock())
    ledger.note(STARTED)
    ledger.write({})
    ledger.close()
    code = run("verify", str(path))
    said = capsys.readouterr().out
    run("show", "--last", "2", str(path))
    last = capsys.readouterr().out.splitlines()
    run("show", "--last", "0", str(path))
    everything = capsys.readouterr().out.splitlines()

    assert 0 == code
    assert said.startswith(
        "CHAIN INTACT, NOT PROVEN: without --key, who can write the file could have rewritten all of it\na.jsonl\n  5 lines"
    )
    assert "\na.1.jsonl\n  1 lines in 1 file(s)" in said
    assert said.endswith("3 chains; where they end was stated 0 time(s)\n")
    assert [["22:15:00"], ["22:18:20"]] == [line.split()[1:2] for line in last]
    assert last == everything[-2:]


def test_actions_are_shown_among_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What operators did, harmlessly; alone, or left out where only refusals are wanted."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, clock=ManualClock())
    row = Revocation("r-1", Target.SUBJECT, "a|ada\x1b[31m", 1.8e9, reason="stolen")
    log.append(b'{"time":"2027-01-15T08:00:00.000Z","id":"1","outcome":"served","status":200}')
    log.append_action(action("revoked", "operator token 00", 1.8e9, "r-1", row, 2))
    log.append_action(action("lifted", "operator token 00", 1.8e9, "r-1", row, 0))
    log.close()
    shown = []
    for more in ([], ["--actions"], ["--refused"]):
        assert 0 == run("show", str(path), *more)
        shown.append(capsys.readouterr().out)
    assert 0 == run("verify", str(path))

    assert "1 records, 2 actions of operators" in capsys.readouterr().out
    assert "served" in shown[0]
    assert "revoked      subject a|ada\\x1b[31m  ends 2 running" in shown[0]
    assert "lifted       subject a|ada\\x1b[31m\n" in shown[0]
    assert "r-1 by operator token 00: stolen" in shown[1]
    assert "served" not in shown[1]
    assert "" == shown[2]


@pytest.mark.parametrize(
    ("asked", "taken", "expected"),
    [
        (7, 7, "7 of chat/tokens 9/day, model tiny"),
        (7, 3, "3 (7 asked) of chat/tokens 9/day, model tiny"),
        (None, 9, "9 (all asked) of chat/tokens 9/day, model tiny"),
        (7, None, "perhaps 7 of chat/tokens 9/day, model tiny"),
        (None, None, "perhaps all of chat/tokens 9/day, model tiny"),
    ],
)
def test_what_was_forgiven_is_put_into_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: int | None, taken: int | None, expected: str
) -> None:
    """How much of which limit of whom, by whom and why."""
    log = AuditLog(tmp_path / "a.jsonl", clock=ManualClock())
    log.append_action(
        adjustment(
            "granted", "operator token 00", 1.8e9, "i|ada", "chat/tokens 9/day",
            known={"model": "tiny"}, asked=asked, taken=taken, reason="demo",
        )
    )  # fmt: skip
    assert log.close()
    assert 0 == run("show", str(tmp_path / "a.jsonl"), "--actions")
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].endswith(f"  ---  granted      subject i|ada  {expected}")
    assert "by operator token 00: demo" == lines[1].strip()
