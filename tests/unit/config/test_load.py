"""From a file to settings, or to everything that is wrong with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.errors import ConfigurationError
from gateway.config.load import load
from tests.unit.config.writing import (
    MINIMAL,
    REMOVED,
    FixedClock,
    load_bytes,
    load_variant,
    problems,
    problems_of,
    variant,
)

BROKEN = b"""\
server:
  listen: 127.0.0.1:8443
  timeots: {handshake: 5s}
  drain: 5 sec
  bounds: {head: 16KB, headers: "64", connections: 0}
admin: {listen: 0.0.0.0:9443, token: hunter2secret}
state: {url: redis://u:pw@redis/0, on_failure: maybe}
identity:
  issuers:
    - {issuer: https://x, jwks: https://x/jwks, algorithms: [HS256, none, RS1]}
roles:
  a: {}
  b: {groups: yes}
  c d: {groups: [x]}
backends:
  llama: {endpoints: [http://10.0.0.1:8000]}
  bad: {endpoints: []}
routes:
  - name: chat
    match: {methods: [post], path: v1}
    dialect: openai.chat
    backend: llama
  - name: chat2
    match: {methods: [POST], path: /v1}
    dialect: openai.chat
    backend: lama
    allow: [{name: x, roles: [nobody], when: "true"}, {name: y, networks: [10.0.0.1/8]}, {name: x}]
    limits: {requests: 60/fortnight, burst: true}
    risk: {bar: .nan}
    risk: {bar: 0.1}
    require: {token: {bound: yes}}
log: &x {level: INFO, exchanges: 1}
traces: *x
"""
EXPECTED = [
    (3, 3, "timeots", "unknown key `timeots` in `server`", "did you mean `timeouts`?"),
    (4, 10, "5 sec", "`5 sec` is not a duration", "write it like `30s`"),
    (5, 18, "16KB", "`16KB` is not a size", "write it like `16KiB`"),
    (5, 33, '"64"', "expected a whole number, found the text `64`", "write a number without quotes and unit"),
    (5, 52, "0", "expected a number at least 1, found the number `0`", "write a number at least 1"),
    (6, 38, "*" * 13, "a secret must not stand in the configuration", None),
    (7, 14, "redis://u:**@redis/0", "a password in a URL", None),
    (
        7,
        48,
        "maybe",
        "the text `maybe` is none of the values this key takes",
        "write one of `refuse` or `local`",
    ),
    (10, 7, "{", "`audience` is missing in `identity.issuers[0]`", None),
    (
        10,
        62,
        "HS256",
        "`HS256` verifies with the key that signs: whoever can check a token could forge one",
        None,
    ),
    (10, 69, "none", "`none` accepts tokens that nobody signed", None),
    (10, 75, "RS1", "the text `RS1` is no algorithm known here", None),
    (12, 3, "a", "nothing can match the role `a`", "add `groups:`, `spiffe:`, `claims:` or another line"),
    (13, 15, "yes", "expected a list, found the text `yes`", "write `[one, two]`, or one `- item` per line"),
    (14, 3, "c d", "`c d` is not a name", "write it like `chat-1`"),
    (16, 23, "http://10.0.0.1:8000", "prompts and answers cross a network in the clear", None),
    (17, 20, "[", "nothing stands here, and at least one entry must", "add an entry"),
    (20, 23, "post", "the text `post` is none of the values this key takes", None),
    (20, 36, "v1", "`v1` does not begin with a slash", None),
    (26, 14, "lama", "there is no backend `lama`", "the backends are bad, llama"),
    (27, 31, "nobody", "there is no role `nobody`", "add it to `roles`; there are: a, b, c d"),
    (27, 76, "10.0.0.1/8", "`10.0.0.1/8` has bits set behind its prefix", "write `10.0.0.0/8`"),
    (27, 90, "{", "the rule `x` has no condition: it allows everybody everything", None),
    (27, 97, "x", "a second rule `x` in this route", "give it another name"),
    (28, 24, "60/fortnight", "`60/fortnight` is not a rate", "write it like `60/minute`"),
    (28, 45, "true", "expected a whole number, found `true`", "write a number without quotes and unit"),
    (29, 17, ".nan", ".nan reads differently in YAML 1.1 and 1.2", None),
    (30, 5, "risk", "key `risk` stands twice in this mapping, first in line 29", "remove one of the two"),
    (
        31,
        30,
        "yes",
        "expected true, false, certificate or key, found the text `yes`",
        "write `true` for a token that is bound to either",
    ),
    (32, 6, "&", "anchor &x", "remove the anchor: aliases are not taken"),
    (33, 9, "*x", "alias *x", "write the value itself: aliases are not taken"),
]


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Reader, schema and cross-checks all speak, each with line, column, text and mend."""
    found = problems_of(tmp_path, BROKEN)

    assert [row[:4] for row in EXPECTED] == [(p.line, p.column, p.text, p.message) for p in found]
    assert [row[4] for row in EXPECTED if row[4]] == [
        p.mend for p, row in zip(found, EXPECTED, strict=True) if row[4]
    ]
    assert all(problem.mend for problem in found)


def test_no_secret_leaves_the_file(tmp_path: Path) -> None:
    """The report of a file with literal secrets shows none of them."""
    with pytest.raises(ConfigurationError) as caught:
        load_bytes(tmp_path, BROKEN)

    assert "hunter2secret" not in str(caught.value)
    assert ":pw@" not in str(caught.value)


def test_settings_are_typed_and_have_safe_defaults(tmp_path: Path) -> None:
    """Times are seconds, sizes bytes, paths absolute; nothing left out is unsafe."""
    settings_ = load_variant(tmp_path, {}).settings

    assert settings_.server.timeouts.handshake == 5.0
    assert settings_.server.bounds.head == 16384
    assert tmp_path / "audit/gateway.jsonl" == settings_.audit.path
    assert (
        settings_.state.url.scheme,
        settings_.state.on_failure,
        settings_.state.timeout,
    ) == ("memory", "refuse", 0.2)
    assert settings_.identity.issuers[0].token_types == ("at+jwt",)
    assert None is settings_.admin
    assert None is settings_.identity.anonymous
    assert settings_.routes[0].bounds.body == 1048576


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    """A configuration that was checked stays as it was checked."""
    settings_ = load_variant(tmp_path, {}).settings

    with pytest.raises(ValueError, match="frozen"):
        settings_.server.drain = 1.0


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    """Two files with the same meaning and other bytes have other digests."""
    assert hashlib.sha256(variant({})).hexdigest() == load_variant(tmp_path, {}).digest


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory that the gateway was started in does not matter."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "chat.json").write_text("{}")
    (tmp_path / "etc" / "g.yaml").write_bytes(variant({"routes.0.schema": "chat.json", "audit": {}}))
    monkeypatch.chdir(tmp_path)

    loaded = load(Path("etc/g.yaml"), FixedClock())

    assert tmp_path / "etc" / "chat.json" == loaded.settings.routes[0].schema_file


def test_problems_found_later_get_their_place(tmp_path: Path) -> None:
    """What only another part of the gateway can tell is shown at its place too."""
    text = variant({"routes.0.allow.0.when": "request.modle == 'x'"})
    loaded = load_bytes(tmp_path, text)
    line = next(n for n, row in enumerate(text.decode().splitlines(), 1) if '"when"' in row)

    problem = loaded.problem(
        ("routes", 0, "allow", 0, "when"), "undeclared reference to 'modle'", "write `request.model`"
    )

    assert (line, "\"request.modle == 'x'\"") == (problem.line, problem.text)
    assert "^" * len(problem.text) in str(problem)
    assert str(tmp_path / "gateway.yaml") == problem.file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "the file cannot be read: no such file or directory"),
        (".", "the file cannot be read: is a directory"),
        ("a\0b", "the path has a NUL character"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_without_a_place(
    tmp_path: Path, name: str, message: str
) -> None:
    """The report says which file and why."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / name, FixedClock())

    assert [(0, message)] == [(problem.line, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected a mapping, found nothing (null)"),
        (b"[1]", "expected a mapping, found a list"),
        (b"hello", "expected a mapping, found the text `hello`"),
        (b"{}", "`server` is missing"),
        (b"routes: []\nserver: {listen: '127.0.0.1:0'}\n", "`backends` is missing"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    """An empty configuration allows nothing and is no configuration."""
    assert message in [problem.message for problem in problems_of(tmp_path, text)]


@pytest.mark.parametrize(
    ("changes", "message", "mend"),
    [
        ({"serverr": {}}, "unknown key `serverr`", "did you mean `server`?"),
        ({"routes.0.match.pth": "/"}, "unknown key `pth` in `routes[0].match`", "did you mean `path`?"),
        (
            {"routes.0.allow.0.model": ["x"]},
            "unknown key `model` in `routes[0].allow[0]`",
            "did you mean `models`?",
        ),
        ({"roles.user.group": "x"}, "unknown key `group` in `roles.user`", "did you mean `groups`?"),
        ({"routes.0.schema_file": "x"}, "unknown key `schema_file` in `routes[0]`", "did you mean `schema`?"),
        (
            {"log.zzz": 1},
            "unknown key `zzz` in `log`",
            "remove it; the keys here are level, exchanges",
        ),
        (
            {"identity.issuers.0.audience": REMOVED},
            "`audience` is missing in `identity.issuers[0]`",
            "add `audience:`: Exact value that the claim `aud` must have: this gateway's name at the issuer",
        ),
        (
            {"identity.issuers.0.algorithms": []},
            "nothing stands here, and at least one entry must",
            "add an entry",
        ),
        ({"server": "x"}, "expected a mapping, found the text `x`", None),
        ({"roles": ["x"]}, "expected a mapping, found a list", None),
        (
            {"traces": {"endpoint": "https://c/v1", "sample": 1.5}},
            "expected a number at most 1, found the number `1.5`",
            None,
        ),
        (
            {"traces": {"endpoint": "https://c/v1", "sample": "x"}},
            "expected a number, found the text `x`",
            None,
        ),
        ({"routes.0.risk": {"bar": 0}}, "expected a number greater than 0, found the number `0`", None),
        ({"roles.user.claims": {"a": {}}}, None, None),
    ],
)
def test_wrong_keys_and_kinds_say_what_was_meant(
    tmp_path: Path, changes: dict[str, object], message: str | None, mend: str | None
) -> None:
    """Unknown keys suggest known ones, missing keys say what they are for."""
    found = problems(tmp_path, changes)

    assert found
    if message is not None:
        assert (message, mend or found[0].mend) == (found[0].message, found[0].mend)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_junk_never_raises_anything_but_a_configuration_error(tmp_path: Path, data: bytes) -> None:
    """Whatever the file holds, the operator gets a report."""
    with pytest.raises(ConfigurationError) as caught:
        load_bytes(tmp_path, data)

    assert caught.value.problems


PATHS = [
    "server", "server.listen", "server.tls", "server.hosts", "server.timeouts", "server.bounds.head", "admin", "state",
    "state.url", "identity", "identity.issuers", "identity.issuers.0", "identity.issuers.0.jwks", "identity.anonymous",
    "roles", "roles.user", "roles.user.claims", "roles.user.groups", "backends", "backends.local", "backends.local.tls",
    "backends.local.endpoints", "backends.local.networks", "routes", "routes.0", "routes.0.match", "routes.0.match.methods",
    "routes.0.match.path", "routes.0.require", "routes.0.require.token", "routes.0.allow", "routes.0.allow.0",
    "routes.0.allow.0.roles", "routes.0.deny", "routes.0.limits", "routes.0.limits.requests", "routes.0.risk",
    "routes.0.headers.request", "routes.0.schema", "assertions", "audit.path", "log", "traces", "behaviour",
]  # fmt: skip
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(-1e6, 1e6)
    | st.text(max_size=8)
    | st.sampled_from(["5s", "/v1", "user", "local"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "listen", "tls", "path", "roles", "allow", "url", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), JUNK, min_size=1, max_size=3))
def test_junk_in_the_right_places_gets_a_report_with_places(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """Near misses are refused too, and every problem stands somewhere in the file and can be mended."""
    try:
        data = variant(changes)
    except (AssertionError, AttributeError, IndexError, KeyError, ValueError):
        return
    for problem in problems_of(tmp_path, data):
        assert problem.line
        assert problem.column
        assert problem.message
        assert problem.mend


def test_the_minimal_configuration_is_not_changed_by_its_variants() -> None:
    """The tests above start from the same configuration each."""
    before = variant({})
    variant({"server.listen": "x", "roles": REMOVED})

    assert before == variant({})
    assert "roles" in MINIMAL
