"""`gateway keys`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.cli import keys
from gateway.core.gateway_key import read_id
from gateway.credentials.development import DevelopmentPki, fingerprint
from gateway.credentials.gateway_keys import make_blind
from gateway.credentials.key_records import Record, read_records, write_records

if TYPE_CHECKING:
    from pathlib import Path

PEPPER = "a pepper that is long enough to be one"
CONFIGURATION = """\
server: {listen: "127.0.0.1:0"}
identity: {keys: {file: keys.jsonl, pepper: "file:pepper", max_lifetime: 100d}}
roles: {batch: {}, report: {}}
backends: {local: {endpoints: ["unix:/run/model.sock"]}}
routes:
  - name: chat
    match: {methods: [POST], path: /v1/chat/completions}
    dialect: openai.chat
    backend: local
    allow: [{name: all, roles: [batch]}]
"""


class Command:
    """The command, on one configuration."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.capsys = capsys
        self.file = directory / "keys.jsonl"
        self.config = directory / "gateway.yaml"
        self.config.write_text(CONFIGURATION)
        (directory / "pepper").write_text(PEPPER)
        (directory / "pepper").chmod(0o600)

    def run(self, *arguments: str) -> int:
        """Run it as the program would."""
        parser = argparse.ArgumentParser()
        keys.add(parser.add_subparsers())
        parsed = parser.parse_args(["keys", *arguments, "--config", str(self.config)])
        code: int = parsed.run(parsed)
        return code

    def done(self, *arguments: str) -> str:
        """Run it; return what it printed."""
        assert 0 == self.run(*arguments)
        return self.capsys.readouterr().out.strip()

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Run it; return what it complained of."""
        assert code == self.run(*arguments)
        printed = self.capsys.readouterr()
        assert "" == printed.out
        return printed.err

    def create(self, *arguments: str) -> str:
        """Make a key."""
        return self.done("create", "--subject", "nightly", "--role", "batch", *arguments)

    @property
    def records(self) -> tuple[Record, ...]:
        """What is in the file."""
        return read_records(self.file)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """A configuration without keys yet."""
    return Command(tmp_path, capsys)


def test_a_key_is_printed_once_and_stored_as_a_digest(command: Command) -> None:
    """The standard output holds the key and nothing else; the file holds what proves it."""
    key = command.create()
    [record] = command.records

    assert read_id(key.encode()) == record.id
    assert make_blind(PEPPER)(key.encode()).hex() == record.secrets[0].digest
    assert ("nightly", ("batch",), None) == (record.subject, record.roles, record.secrets[0].ends)
    assert 90 * 86400 == (record.expires - record.created).total_seconds()
    assert key not in command.file.read_text()
    assert key.split("_")[2] not in command.file.read_text()


def test_everything_that_a_key_can_be(command: Command) -> None:
    """Roles, groups, scopes, networks, certificates, SPIFFE IDs, a note, a life."""
    pki = DevelopmentPki(command.directory)
    pki.init()
    certificate = pki.issue("ci").certificate
    command.create(
        *("--role", "report", "--group", "ops", "--scope", "models:chat", "--expires", "12h", "--note", "CI"),
        *("--network", "10.0.0.0/8", "--network", "2001:DB8::/32"),
        *("--certificate", str(certificate), "--spiffe", "spiffe://example.org/ci"),
    )
    [record] = command.records

    assert (("batch", "report"), ("ops",), ("models:chat",)) == (record.roles, record.groups, record.scopes)
    assert (("10.0.0.0/8", "2001:db8::/32"), "CI") == (record.networks, record.note)
    assert ((fingerprint(certificate),), ("spiffe://example.org/ci",)) == (
        record.certificates,
        record.spiffe_ids,
    )
    assert 12 * 3600 == (record.expires - record.created).total_seconds()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--role", "other"), "no role `other`"),
        (("--expires", "101d"), "at most 100 days"),
        (("--group", "a\nb"), "cannot be a key"),
        (("--spiffe", ""), "cannot be a key"),
        (("--note", "x" * 2000), "cannot be a key"),
    ],
)
def test_keys_that_are_not_made(command: Command, arguments: tuple[str, ...], said: str) -> None:
    """What a running gateway would refuse is refused here, and no file appears."""
    assert said in command.refused("create", "--subject", "s", "--role", "batch", *arguments)
    assert not command.file.exists()


@pytest.mark.parametrize("network", ["10.0.0.1/8", "here"])
def test_networks_that_are_none(command: Command, network: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in an argument, with what to write instead."""
    with pytest.raises(SystemExit) as ended:
        command.run("create", "--subject", "s", "--role", "batch", "--network", network)

    assert 2 == ended.value.code
    assert f"`{network}` is no network: write it like `10.2.0.0/16`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file {}\n      = mend: for development, `gateway certs issue ci` makes it; or"),
        ("garbage", "{} holds no readable certificate\n      = mend: give a PEM file"),
        ("", "{} cannot be used: is a directory\n      = mend: "),
    ],
)
def test_certificates_that_are_none(command: Command, content: str | None, said: str) -> None:
    """It could not be done: exit code 2, what is wrong with which file, and how to mend it."""
    file = command.directory / "ci.pem"
    if content:
        file.write_text(content)
    elif content is not None:
        file.mkdir()
    arguments = ("--subject", "s", "--role", "batch", "--certificate", str(file))

    assert said.format(file) in command.refused("create", *arguments, code=2)
    assert not command.file.exists()


def test_a_pepper_that_is_missing(command: Command) -> None:
    """In the words of `gateway check`, with its mend."""
    command.config.write_text(CONFIGURATION.replace("file:pepper", "env:NO_SUCH_VARIABLE"))

    assert command.refused("list").startswith(
        "gateway keys: the environment variable NO_SUCH_VARIABLE is not set\n      = mend: set it"
    )


@pytest.mark.parametrize("time", ["soon", "1", "-1d", "0s", "400d"])
def test_times_that_are_none(command: Command, time: str) -> None:
    """A mistake in an argument, as for every command: exit code 2."""
    with pytest.raises(SystemExit) as ended:
        command.run("create", "--subject", "s", "--role", "batch", f"--expires={time}")

    assert 2 == ended.value.code


def test_a_rotated_key_keeps_its_name(command: Command) -> None:
    """A new secret of the same id; the old one ends after the overlap; a third ends the first at once."""
    first = command.create()
    [before] = command.records
    second = command.done("rotate", before.id, "--overlap", "1h")
    [after] = command.records

    assert (before.id, before.created, before.expires) == (after.id, after.created, after.expires)
    assert read_id(second.encode()) == before.id
    assert before.secrets[0].digest == after.secrets[1].digest
    assert after.secrets[1].ends is not None
    assert 3600 == (after.secrets[1].ends - after.secrets[0].made).total_seconds()
    third = command.done("rotate", before.id, "--expires", "100d")
    [last] = command.records
    digests = [make_blind(PEPPER)(key.encode()).hex() for key in (third, second)]
    assert digests == [secret.digest for secret in last.secrets]
    assert last.expires > after.expires
    assert 3 == len({first, second, third})


def test_a_dead_key_needs_a_new_life(command: Command) -> None:
    """Rotating what has expired would make a key that is refused."""
    command.create()
    [record] = command.records
    write_records(command.file, [msgspec.structs.replace(record, expires=record.created)])

    assert "has expired" in command.refused("rotate", record.id)
    assert read_id(command.done("rotate", record.id, "--expires", "1d").encode()) == record.id


def test_a_revoked_key_is_gone(command: Command) -> None:
    """From the file; the others stay."""
    command.create()
    command.create()
    first, second = command.records
    command.done("revoke", first.id)

    assert (second,) == command.records
    assert "no such key" in command.refused("revoke", first.id)
    assert "no such key" in command.refused("rotate", first.id)


def test_a_list_has_no_secrets(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, states, ends, subjects, roles and bounds; for people, or a JSON object a line."""
    made = [command.create("--network", "10.0.0.0/8"), command.create(), command.create()]
    first, second, third = command.records
    made.append(command.done("rotate", second.id))
    write_records(command.file, [*command.records[:2], msgspec.structs.replace(third, expires=third.created)])
    text = command.done("list")
    lines = text.splitlines()
    objects: list[dict[str, Any]] = [
        msgspec.json.decode(each) for each in command.done("list", "--json").splitlines()
    ]

    assert [first.id, second.id, third.id] == [each.split()[0] for each in lines[1:]]
    assert ["active", "rotating", "expired"] == [each.split()[1] for each in lines[1:]]
    assert lines[1].endswith("10.0.0.0/8")
    assert [first.id, second.id, third.id] == [each["id"] for each in objects]
    assert {""} == {secret["digest"] for each in objects for secret in each["secrets"]}
    everything = text + str(objects)
    assert not [key for key in made if key.split("_")[2] in everything]
    assert not [one.digest for each in command.records for one in each.secrets if one.digest in everything]
    monkeypatch.setattr(keys, "_now", lambda: first.created.timestamp() + 25 * 3600)
    assert "rotating" not in command.done("list")


def test_an_empty_list(command: Command) -> None:
    """Has a heading."""
    assert 1 == len(command.done("list").splitlines())


def test_a_configuration_that_does_not_fit(command: Command) -> None:
    """Without the section, broken, or with a pepper that could be guessed: nothing is written."""
    command.config.write_text(CONFIGURATION.replace("identity: {keys", "identity: {key"))
    assert "unknown key" in command.refused("list")
    (command.directory / "pepper").write_text("short")
    command.config.write_text(CONFIGURATION)
    assert "fewer than 32" in command.refused("create", "--subject", "s", "--role", "batch")
    issuer = 'issuers: [{issuer: "https://i.example", audience: g, algorithms: [ES256]}]'
    text = CONFIGURATION.replace(
        'keys: {file: keys.jsonl, pepper: "file:pepper", max_lifetime: 100d}', issuer
    )
    command.config.write_text(text.replace("{batch: {}, report: {}}", "{batch: {groups: [a]}}"))
    assert "no section `identity.keys`" in command.refused("list")


def test_a_file_that_cannot_be_written(command: Command) -> None:
    """It could not be done: exit code 2."""
    command.config.write_text(CONFIGURATION.replace("keys.jsonl", "sub/keys.jsonl"))
    (command.directory / "sub").mkdir()
    (command.directory / "sub/.keys.jsonl.lock").mkdir()

    assert "keys.jsonl.lock cannot be used: is a directory" in command.refused(
        "create", "--subject", "s", "--role", "batch", code=2
    )


def test_a_broken_file_is_not_overwritten(command: Command) -> None:
    """What cannot be read is not replaced."""
    command.file.write_text("{\n")
    command.file.chmod(0o600)

    assert "line 1" in command.refused("create", "--subject", "s", "--role", "batch")
    assert "{\n" == command.file.read_text()
