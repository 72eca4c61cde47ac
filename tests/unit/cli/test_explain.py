"""`gateway explain`: what would be decided, said in words, in JSON and as an exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.cli import main
from tests.unit.app.settings import FULL, Directory

if TYPE_CHECKING:
    from pathlib import Path

MORE = """\
  - name: workloads
    match: {methods: [GET, POST], path: "/w/{name}"}
    dialect: json
    backend: plain
    allow:
      - {name: by-name, roles: [batch]}
      - {name: mornings, models: [x], when: "now.getHours('Europe/Berlin') < 12 && identity.claims.team == 'ml'"}
    deny:
      - {name: from-outside, roles: [guest], networks: [192.0.2.0/24]}
"""
ROLES = "roles:\n  batch: {spiffe: ['spiffe://example.org/batch/*']}\n  guest: {groups: [guests]}\n"
CHAT = (
    "--route",
    "chat",
    "--subject",
    "alice",
    "--group",
    "ml-research",
    "--issuer",
    "https://idp.example.org",
)


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """Everything that a full configuration names."""
    return Directory(tmp_path)


def explain(directory: Directory, *arguments: str) -> int:
    """Run the command."""
    text = FULL.replace("roles:\n", ROLES, 1).replace("routes:\n", "routes:\n" + MORE, 1)
    path = directory.write("gateway.yaml", text.encode())
    return main(["explain", "--config", str(path), *arguments])


def said(
    directory: Directory, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, object]]:
    """Run it for programs."""
    code = explain(directory, "--json", *arguments)
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return code, document


def test_an_allowed_request(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    """Who it would be, every rule with what it saw, and which one allows it; exit code 0."""
    certificate = str(directory.pki.issue("alice", spiffe="spiffe://example.org/batch/one").certificate)
    code = explain(
        directory, *CHAT, "--scope", "models:chat", "--certificate", certificate, "--bound", "--model", "m",
        "--max-tokens", "64",
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()

    assert 0 == code
    assert "who     https://idp.example.org|alice" in lines
    assert "shows   jwt, mtls" in lines
    assert "allow   researchers: applies" in lines
    assert "          when      yes  request.max_tokens <= 64" in lines
    assert f"{'':25}request.max_tokens = 64" in lines
    assert "deny    risky: does not apply" in lines
    assert "allowed by rule 'researchers'" == lines[-1]


def test_a_refused_request(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    """Why, and what the client would read; exit code 1. An absent value is called so."""
    certificate = str(directory.pki.issue("alice", spiffe="spiffe://example.org/batch/one").certificate)
    code = explain(directory, *CHAT, "--scope", "models:chat", "--certificate", certificate, "--bound")
    lines = capsys.readouterr().out.splitlines()

    assert 1 == code
    assert "allow   researchers: cannot be evaluated" in lines
    assert f"{'':25}request.max_tokens = absent" in lines
    assert lines[-2].startswith("refused: no-rule-allows: allow rules for this identity, none of which fits")
    assert "the client reads 403 forbidden" == lines[-1]


@pytest.mark.parametrize(
    ("arguments", "reason", "status"),
    [
        (("--risk", "0.9", "--bound"), "certificate-required", 403),
        (("--certificate", "alice"), "token-unbound", 401),
        (("--certificate", "alice", "--bound", "--claim", "iat=1"), "scope-missing", 403),
        (
            ("--certificate", "alice", "--bound", "--scope", "models:chat", "--risk", "0.9"),
            "denied-by-rule",
            403,
        ),
    ],
)
def test_what_a_route_requires_is_asked_first(
    directory: Directory,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    reason: str,
    status: int,
) -> None:
    """As for a real request."""
    given = [
        str(directory.pki.issue("alice", spiffe="spiffe://example.org/batch/one").certificate)
        if each == "alice"
        else each
        for each in arguments
    ]
    code, document = said(directory, capsys, *CHAT, *given)

    assert (1, False, reason, status) == (code, document["allowed"], document["reason"], document["status"])


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        (("--certificate", "alice"), "by-name"),
        (("--role", "batch"), "by-name"),
        (("--model", "x", "--claim", "team=ml", "--at", "2026-11-24T10:59:59Z"), "mornings"),
        (("--model", "x", "--claim", "team=ml", "--at", "2026-11-24T11:00:00Z"), None),
        (("--model", "x", "--claim", 'team="ml"', "--at", "2026-11-24T11:00:00+01:00"), "mornings"),
        (("--role", "batch", "--group", "guests", "--address", "192.0.2.7"), "from-outside"),
        (("--role", "batch", "--group", "guests", "--address", "198.51.100.7"), "by-name"),
    ],
)
def test_callers_prompts_and_times_are_described(
    directory: Directory, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], verdict: str | None
) -> None:
    """By certificate, by role, by claims; the time has a zone; method and path find the route."""
    given = [
        str(directory.pki.issue("alice", spiffe="spiffe://example.org/batch/one").certificate)
        if each == "alice"
        else each
        for each in arguments
    ]
    if "--claim" in given or "--group" in given:
        given += ["--issuer", "https://idp.example.org"]
    code, document = said(directory, capsys, "--method", "GET", "--path", "/w/1", *given)

    assert "workloads" == document["route"]
    assert verdict == document["rule"]
    assert (0 if document["allowed"] else 1) == code


def test_a_path_that_leads_nowhere(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    """Is refused as everybody's would be."""
    code, document = said(directory, capsys, "--path", "/nowhere", "--role", "batch")

    assert (1, None, "route-unknown", []) == (code, document["route"], document["reason"], document["rules"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--route", "nowhere", "--role", "x"), "`nowhere` is no route; there are: workloads, chat"),
        (("--route", "chat"), "nobody without credentials is let in here"),
        (("--route", "chat", "--subject", "a"), "no issuer is named; there are: https://idp.example.org, "),
        (("--route", "chat", "--subject", "a", "--issuer", "b"), "`b` is no issuer; there are: "),
        ((*CHAT, "--claim", "groups=1"), "no identity can be made of this: token-claim-invalid"),
        ((*CHAT, "--claim", "exp=soon"), "`iat` and `exp` are whole seconds"),
        (("--route", "chat", "--certificate", "/none.pem"), "/none.pem"),
    ],
)
def test_what_cannot_be_told(
    directory: Directory, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    """Said in one line, with what there is; exit code 2."""
    given = [
        each for each in arguments if not (each in {"--group", "ml-research"} and "groups=1" in arguments)
    ]
    code = explain(directory, *given)

    assert 2 == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["noon", "2026-11-24T10:00:00"])
def test_a_time_without_a_zone_is_none(directory: Directory, text: str) -> None:
    """Rules name zones; a guess would explain another request."""
    with pytest.raises(SystemExit):
        explain(directory, "--route", "chat", "--at", text)
