"""`gateway token`."""

from __future__ import annotations

import argparse
import hashlib
import io
from typing import TYPE_CHECKING

import jwt
import pytest

from gateway.cli import token
from gateway.cli.token_proof import holder
from gateway.credentials.development import DevelopmentPki, fingerprint
from gateway.credentials.signing import Signer, base64url

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    """Run the command as the program would."""
    parser = argparse.ArgumentParser()
    token.add(parser.add_subparsers())
    parsed = parser.parse_args(["token", *arguments])
    return parsed.run(parsed)


@pytest.fixture
def where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """A directory with a key."""
    assert 0 == run("keys", "--directory", str(tmp_path), "--issuer", "https://i", "--kid", "k1")
    assert f"{tmp_path / 'jwks.json'}\n" == capsys.readouterr().out
    return "--directory", str(tmp_path)


def minted(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[dict[str, object], dict[str, object]]:
    """Mint a token; return header and claims."""
    assert 0 == run("mint", *arguments)
    text = capsys.readouterr().out.strip()
    return jwt.get_unverified_header(text), jwt.decode(text, options={"verify_signature": False})


def test_good_tokens_are_the_default(where: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """No option is needed for a token that the gateway accepts."""
    header, claims = minted(capsys, *where)

    assert {"alg": "ES256", "typ": "at+jwt", "kid": "k1"} == header
    assert ("https://i", "alice", "model-gateway") == (claims["iss"], claims["sub"], claims["aud"])


def test_every_claim_can_be_set(
    where: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Options for the common ones, --claim and --header for the rest; values are JSON or text."""
    pki = DevelopmentPki(tmp_path / "pki")
    pki.init()
    certificate = pki.issue("a").certificate
    header, claims = minted(
        capsys, *where, "--subject", "bob", "--issuer", "x", "--audience", "one", "--expires-in=-5", "--issued-at", "100",
        "--not-before", "7", "--group", "g", "--group", "h", "--scope", "s", "--claim", "level=3", "--claim", "team=ml",
        "--claim", 'list=["a"]', "--bind-certificate", str(certificate), "--type", "JWT", "--kid", "other",
        "--header", "x=1", "--omit", "jti", "--omit", "client_id",
    )  # fmt: skip

    assert {"alg": "ES256", "typ": "JWT", "kid": "other", "x": 1} == header
    assert {
        "iss": "x", "sub": "bob", "aud": "one", "iat": 100, "exp": 95, "nbf": 7, "groups": ["g", "h"], "scope": "s",
        "level": 3, "team": "ml", "list": ["a"], "cnf": {"x5t#S256": fingerprint(certificate)},
    } == claims  # fmt: skip


def test_audiences_may_be_many(where: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Given twice, the audience is a list."""
    assert ["a", "b"] == minted(capsys, *where, "--audience", "a", "--audience", "b")[1]["aud"]


def test_faults_are_told(tmp_path: Path, where: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one sentence that says how to mend it."""
    garbage = tmp_path / "garbage"
    garbage.write_text("x")

    def fails(expected: str, *arguments: str) -> None:
        assert 1 == run(*arguments)
        assert expected in capsys.readouterr().err

    fails("--force", "keys", *where)
    assert 0 == run("keys", *where, "--force", "--algorithm", "EdDSA")
    fails("token keys", "mint", "--directory", str(tmp_path / "none"))
    fails("cannot be used: not a directory", "mint", "--directory", str(garbage))
    fails("cannot be used: not a directory", "keys", "--directory", str(garbage / "x"))
    fails("gateway token: ", "mint", *where, "--bind-certificate", str(garbage))


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has examples."""
    with pytest.raises(SystemExit) as ended:
        run("--help")

    assert 0 == ended.value.code
    assert "gateway token mint --subject alice" in capsys.readouterr().out


def test_a_token_is_bound_to_a_key(
    where: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The key is made if there is none, private to its owner, and the same from then on."""
    key = tmp_path / "client.key"
    _, first = minted(capsys, *where, "--bind-key", str(key))
    _, second = minted(capsys, *where, "--bind-key", str(key))

    assert {"jkt": Signer.from_pem(key.read_bytes()).thumbprint} == first["cnf"] == second["cnf"]
    assert 0o600 == key.stat().st_mode & 0o777


def test_a_proof_is_for_one_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Method, URL, time, nonce, digest of the token; the key's public half alone."""
    key, token = tmp_path / "client.key", tmp_path / "token"
    signer = holder(key)
    token.write_text("a.b.c\n")
    arguments = ("--key", str(key), "--url", "https://h/x", "--token", str(token), "--nonce", "n")
    assert 0 == run("proof", *arguments, "--method", "GET", "--issued-at", "7")
    proof = capsys.readouterr().out.strip()
    claims = jwt.decode(proof, options={"verify_signature": False})
    digest = base64url(hashlib.sha256(b"a.b.c").digest()).decode()

    assert {"alg": "ES256", "typ": "dpop+jwt", "jwk": signer.public} == jwt.get_unverified_header(proof)
    assert "d" not in signer.public
    assert len(claims.pop("jti")) >= 16
    assert {"htm": "GET", "htu": "https://h/x", "iat": 7, "ath": digest, "nonce": "n"} == claims


def test_a_token_comes_from_standard_input_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it stands neither in a file nor in a list of processes; time is now."""
    holder(tmp_path / "key")
    monkeypatch.setattr("sys.stdin", io.StringIO("a.b.c"))
    assert 0 == run("proof", "--key", str(tmp_path / "key"), "--url", "https://h/x", "--token", "-")
    claims = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})

    assert "POST" == claims["htm"]
    assert claims["iat"] > 1_700_000_000
    assert "nonce" not in claims


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "there is no file"), (b"no key", "PEM"), ("", "directory")]
)
def test_a_key_that_is_none_is_said(
    content: bytes | str | None, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with the exit code of a failure."""
    key = tmp_path / "key"
    if isinstance(content, bytes):
        key.write_bytes(content)
    elif content is not None:
        key.mkdir()
    assert 1 == run("proof", "--key", str(key), "--url", "https://h/x", "--token", str(key))

    assert expected in capsys.readouterr().err
