"""What one compilation takes over from another: as it is, if all that it was made from is the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.app.compilation import Compilation, compile_settings
from gateway.app.named import UNREADABLE, compiled_files, digest
from gateway.app.parts import Parts
from gateway.config.errors import ConfigurationError
from gateway.credentials.bundles import write_bundle
from gateway.credentials.signing import generate_key, private_pem
from tests.pki import Ca
from tests.unit.app.settings import CLOCK, FULL
from tests.unit.app.test_signals import DOMAINS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.app.settings import Directory

EXCHANGE = """\
    exchange:
      endpoint: https://idp.example.org/token
      server: https://idp.example.org
      client_id: gateway
      audience: llama
      authentication: {client_secret: "file:secret"}
  plain:"""
ASKED = "introspection: {endpoint: 'https://idp.example.org/i', client_id: g, authentication: {client_secret: 'file:secret'}}"
WHOLE = (
    FULL.replace("    credential: file:secret\n", "")
    .replace("identity:\n", f'{DOMAINS}  keys: {{file: keys, pepper: "file:pepper"}}\n')
    .replace("  plain:", EXCHANGE, 1)
    .replace("algorithms: [ES256]}", f"algorithms: [ES256], {ASKED}}}")
)


@pytest.fixture
def whole(directory: Directory) -> Directory:
    """Everything that `WHOLE` names."""
    directory.write("one.json", write_bundle([Ca("one", CLOCK.wall()).certificate]))
    directory.write("pepper", b"0123456789abcdef0123456789abcdef")
    return directory


def following(directory: Directory, held: Compilation, text: str) -> Compilation:
    """Compile the next configuration."""
    return compile_settings(directory.load(text), directory.path, CLOCK, held=held)


def objects(made: Compilation) -> dict[str, object]:
    """Return the parts that remember something, by name."""
    found: dict[str, object] = {" ".join(name): part for name, (_, part) in made.parts.made.items()}
    return found


def changed(directory: Directory, old: str, new: str, text: str = WHOLE) -> set[str]:
    """Return which parts are new after a change of the text."""
    assert old in text
    first = directory.compile(text)
    second = following(directory, first, text.replace(old, new, 1))
    one, other = objects(first), objects(second)
    return {name for name in other if one.get(name) is not other[name]}


def test_nothing_is_made_anew_where_nothing_has_changed(whole: Directory) -> None:
    """Key sets, caches, contexts, keys: the very same objects; only routes are compiled again."""
    first = whole.compile(WHOLE)
    second = following(whole, first, WHOLE)

    assert objects(first) == objects(second)
    assert 20 == len(objects(second))
    assert {} == second.parts._held
    assert first.identification is second.identification
    assert first.revocations is second.revocations
    assert (first.blinding, first.inputs, first.version) == (second.blinding, second.inputs, second.version)
    assert first.backends == second.backends
    assert first.routes is not second.routes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("claims: {department: [physics]}", "claims: {department: [art]}", {"identification "}),
        ("https://127.0.0.1:9/jwks", "https://127.0.0.1:9/other", {"keys https://other.example.org", "identification "}),
        ("max_lifetime: 5h", "max_lifetime: 4h", {"identification ", "feed idp"}),
        ("keep_alive: 1s, ", "", set()),
        ('endpoints: ["http://127.0.0.1:3"]', 'endpoints: ["http://127.0.0.1:4"]', {"endpoints plain"}),
        ('networks: ["127.0.0.0/8", "::1/128"]', 'networks: ["127.0.0.0/8", "::/64"]', set()),
        ("audience: llama", "audience: other", {"exchange llama"}),
        ("client_id: gateway", "client_id: other", {"exchange llama"}),
        ("client_id: g,", "client_id: h,", {"introspection https://idp.example.org", "identification "}),
        ("push: {token", "poll: {endpoint: 'https://idp.example.org/p', token: 'file:secret'}\n      push: {token", {"feed idp"}),
        ("identity: spiffe://example.org/backend/llama", "identity: spiffe://example.org/backend/other", {"backend-tls llama", "endpoints llama"}),
        ("    revocation_list: certs/clients.crl\n", '    revocation_list: certs/clients.crl\n    minimum_version: "1.3"\n', {"client-trust "}),
        ("  issuer: https://gateway.example.org,", "issuer: https://other.example.org,", {"assertions ", "exchange llama"}),
    ],
)  # fmt: skip
def test_only_what_depends_on_a_change_is_made_anew(
    old: str, new: str, expected: set[str], whole: Directory
) -> None:
    """And everything that depends on it."""
    text = WHOLE.replace('plain: {endpoints: ["http', 'plain: {keep_alive: 1s, endpoints: ["http')
    old = old.removeprefix("  ") if old.startswith("  issuer") else old

    assert expected == changed(whole, old, new, text)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("pepper", b"x" * 40, {"gateway-keys ", "identification "}),
        ("certs/assertions.key", private_pem(generate_key("EdDSA")), {"signer ", "assertions ", "exchange llama"}),
    ],
)  # fmt: skip
def test_contents_of_files_count(file: str, content: bytes, expected: set[str], whole: Directory) -> None:
    """Not their dates; and what was compiled from other contents is another configuration."""
    text = WHOLE.replace(", checkpoint_key: certs/assertions.key", "")
    first = whole.compile(text)
    kept = (whole.path / file).read_bytes()
    whole.write(file, kept)
    same = following(whole, first, text)
    whole.write(file, content)
    second = following(whole, first, text)

    assert objects(first) == objects(same)
    assert expected == {name for name, made in objects(second).items() if objects(first)[name] is not made}
    assert first.inputs == same.inputs != second.inputs


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("  listen: 127.0.0.1:0\n", "  listen: 127.0.0.1:1\n", ["server.listen"]),
        ("admin: {listen: 127.0.0.1:0", "admin: {listen: 127.0.0.1:2", ["admin.listen"]),
        ("audit: {path: audit/gateway.jsonl", "audit: {path: audit/other.jsonl", ["audit.path"]),
        ("audit:", "log: {level: debug}\nbehaviour: {half_life: 1h}\naudit:", ["log.level", "behaviour.half_life"]),
        ("audit:", "traces: {endpoint: 'http://127.0.0.1:1/'}\naudit:", ["traces"]),
        ("audit:", "revocations: {capacity: 2000}\naudit:", ["revocations.capacity"]),
        ("audit:", "state: {url: 'redis://localhost', timeout: 1s}\naudit:", ["state.url", "state.timeout", "assertions.issuer"]),
    ],
)  # fmt: skip
def test_what_cannot_change(old: str, new: str, names: list[str], directory: Directory) -> None:
    """Each setting by its name; all in one go."""
    first = directory.compile()
    text = FULL.replace(old, new, 1)
    text = (
        text.replace("issuer: https://gateway.", "issuer: https://other.") if "state.url" in names else text
    )
    with pytest.raises(ConfigurationError) as caught:
        following(directory, first, text)

    assert {f"`{name}` cannot change while the gateway runs" for name in names} == {
        problem.message for problem in caught.value.problems
    }


def test_what_is_read_once_must_stay(directory: Directory) -> None:
    """A secret behind the same reference; what may change in the same section may."""
    first = directory.compile()
    local = FULL.replace("audit:", "state: {on_failure: refuse}\naudit:")
    assert following(directory, first, local).settings.state.on_failure == "refuse"
    directory.write("secret", b"another-horse")
    with pytest.raises(ConfigurationError) as caught:
        following(directory, first, FULL)

    assert ["what `admin.token` names has changed since the gateway was started"] == [
        problem.message for problem in caught.value.problems
    ]


def test_tls_is_not_taken_away(directory: Directory) -> None:
    """A listener stays what it is."""
    tls = FULL[FULL.index("  tls:\n") : FULL.index("admin:")]
    first = directory.compile()
    plain = FULL.replace(tls, "").replace('certificate: true, token: {scopes: ["models:chat"], bound: true, max_age: 15m}', 'token: {scopes: ["models:chat"]}')  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        following(directory, first, plain)

    assert ["`server.tls` cannot change while the gateway runs"] == [
        problem.message for problem in caught.value.problems
    ]


def test_what_failed_is_not_kept() -> None:
    """The next one who asks makes it."""
    parts = Parts()
    with pytest.raises(ValueError, match="once"):
        parts.take("kind", "name", 1, lambda: fail("once"))
    assert {} == parts.made
    assert 2 == parts.take("kind", "name", 1, lambda: 2)
    heir = Parts(parts)

    assert (2, 3) == (heir.take("kind", "name", 1, lambda: 3), heir.take("kind", "name", 2, lambda: 3))


def fail(text: str) -> Any:
    """Raise."""
    raise ValueError(text)


def test_files_that_are_compiled_in(whole: Directory, tmp_path: Path) -> None:
    """Secrets, schemas, keys; not what watches itself, and not the record."""
    names = {str(file.relative_to(whole.path)) for file in compiled_files(whole.load(WHOLE).settings)}

    assert {"secret", "pepper", "chat.json", "certs/assertions.key"} == names
    assert digest([tmp_path / "none"]) == digest([tmp_path]) != digest([])
    assert b"-" == UNREADABLE


def test_a_reload_brings_no_older_list_in(directory: Directory) -> None:
    """Whoever puts an old one back waits for nothing: it is refused as it would be while nothing changes."""
    lists = directory.path / "certs/clients.crl"
    old = lists.read_bytes()
    made = CLOCK.wall()
    while CLOCK.wall() < made + 1.0:  # lists are numbered by the second
        time.sleep(0.05)
    directory.pki.revoke(directory.pki.issue("somebody").certificate)
    first = directory.compile()
    changed = FULL.replace("  tls:\n", '  tls:\n    minimum_version: "1.3"\n', 1)
    second = following(directory, first, changed)
    lists.write_bytes(old)
    with pytest.raises(ConfigurationError) as caught:
        following(directory, first, changed)

    assert second.client_trust is not first.client_trust
    assert ["older than the one in use" in problem.message for problem in caught.value.problems] == [True]
