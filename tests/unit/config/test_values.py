"""The small languages: durations, sizes, rates, addresses, references, patterns."""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.config.addresses import (
    Endpoint,
    HostName,
    Listen,
    ListenAddress,
    Network,
    Origin,
    StateUrl,
    Url,
    WebUrl,
)
from gateway.config.authentication import ContextClass
from gateway.config.authentication import Method as AuthenticationMethod
from gateway.config.patterns import (
    CertificateName,
    ClaimValues,
    Expression,
    HeaderName,
    ModelPattern,
    Name,
    RoutePath,
    SpiffeId,
    SpiffePattern,
    SubjectName,
    Text,
    TlsVersion,
)
from gateway.config.quantities import Duration, DurationOrZero, Rate, Rates, Size
from gateway.config.references import FilePath, KeySource, Secret, SecretReference

DIRECTORY = Path("/etc/gateway")


def read(kind: Any, value: object) -> Any:
    """Validate one value as a setting of a kind."""
    return TypeAdapter(kind).validate_python(value, context={"directory": DIRECTORY})


def refusal(kind: Any, value: object) -> dict[str, Any]:
    """Return message and mend of a refused value."""
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    return caught.value.errors()[0]["ctx"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Duration, "200ms", 0.2),
        (ContextClass, "urn:example:acr:mfa", "urn:example:acr:mfa"),
        (ContextClass, "2", "2"),
        (AuthenticationMethod, "mfa", "mfa"),
        (Duration, "30s", 30.0),
        (Duration, "1.5m", 90.0),
        (Duration, "1h", 3600.0),
        (Duration, "1d", 86400.0),
        (DurationOrZero, "0s", 0.0),
        (Size, "1B", 1),
        (Size, "16KiB", 16384),
        (Size, "1MiB", 1048576),
        (Size, "64GiB", 64 * 1024**3),
        (Rates, "60/minute", (Rate(60, 60.0, "60/minute"),)),
        (
            Rates,
            ("10/second", "1000/2 hours"),
            (Rate(10, 1.0, "10/second"), Rate(1000, 7200.0, "1000/2 hours")),
        ),
        (ListenAddress, "127.0.0.1:8443", Listen("127.0.0.1", 8443)),
        (ListenAddress, "localhost:0", Listen("localhost", 0)),
        (ListenAddress, "[::1]:8443", Listen("::1", 8443)),
        (ListenAddress, "unix:/run/g.sock", Listen("", 0, Path("/run/g.sock"))),
        (
            Endpoint,
            "https://LLAMA.example.org",
            Url("https", "llama.example.org", 443, "", "https://LLAMA.example.org"),
        ),
        (Endpoint, "http://127.0.0.1:8000/", Url("http", "127.0.0.1", 8000, "", "http://127.0.0.1:8000/")),
        (
            Endpoint,
            "https://[2001:db8::1]:8000",
            Url("https", "2001:db8::1", 8000, "", "https://[2001:db8::1]:8000"),
        ),
        (Endpoint, "unix:/run/m.sock", Url("unix", "", 0, "/run/m.sock", "unix:/run/m.sock")),
        (Origin, "https://H:443", Url("https", "h", 443, "", "https://h")),
        (Origin, "http://[::1]:8080/", Url("http", "::1", 8080, "", "http://[::1]:8080")),
        (WebUrl, "http://h/v1/traces", Url("http", "h", 80, "/v1/traces", "http://h/v1/traces")),
        (KeySource, "https://idp/jwks", Url("https", "idp", 443, "/jwks", "https://idp/jwks")),
        (KeySource, "file:keys.json", Url("file", "", 0, "/etc/gateway/keys.json", "file:keys.json")),
        (StateUrl, "memory://", Url("memory", "", 0, "", "memory://")),
        (StateUrl, "unix:/run/r.sock", Url("unix", "", 0, "/run/r.sock", "unix:/run/r.sock")),
        (StateUrl, "rediss://gw@redis/3", Url("rediss", "redis", 6379, "/3", "rediss://gw@redis/3", "gw")),
        (
            StateUrl,
            "rediss+sentinel://gw@s1:26379,[::1]/my-master/3",
            Url(
                "rediss+sentinel",
                "s1",
                26379,
                "/my-master/3",
                "rediss+sentinel://gw@s1:26379,[::1]/my-master/3",
                "gw",
                ("::1",),
            ),
        ),
        (
            StateUrl,
            "redis+cluster://n1,n2:7000",
            Url("redis+cluster", "n1", 6379, "", "redis+cluster://n1,n2:7000", "", ("n2",)),
        ),
        (Network, "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8")),
        (Network, "2001:db8::/32", ipaddress.ip_network("2001:db8::/32")),
        (Network, "10.1.2.3", ipaddress.ip_network("10.1.2.3/32")),
        (HostName, "Gateway.Example.org.", "gateway.example.org"),
        (HostName, "10.0.0.1", "10.0.0.1"),
        (Secret, "file:secrets/token", SecretReference("file", "/etc/gateway/secrets/token")),
        (Secret, "file:/run/token", SecretReference("file", "/run/token")),
        (Secret, "env:REDIS_PASSWORD", SecretReference("env", "REDIS_PASSWORD")),
        (FilePath, "certs/a.pem", Path("/etc/gateway/certs/a.pem")),
        (FilePath, "/a.pem", Path("/a.pem")),
        (Name, "chat-1.b_c", "chat-1.b_c"),
        (Text, "ml research", "ml research"),
        (Expression, "true", "true"),
        (RoutePath, "/", "/"),
        (RoutePath, "/v1/chat/completions", "/v1/chat/completions"),
        (RoutePath, "/v1/models/{model}", "/v1/models/{model}"),
        (RoutePath, "/v1/**", "/v1/**"),
        (RoutePath, "/v1/", "/v1/"),
        (SpiffePattern, "spiffe://example.org/batch/*", "spiffe://example.org/batch/*"),
        (SpiffeId, "spiffe://example.org/backend/llama", "spiffe://example.org/backend/llama"),
        (ModelPattern, "smol*", "smol*"),
        (SubjectName, "https://idp|alice", "https://idp|alice"),
        (CertificateName, "CN=batch,O=Example", "CN=batch,O=Example"),
        (CertificateName, "batch.example.org", "batch.example.org"),
        (HeaderName, "X-Request-Id", b"x-request-id"),
        (TlsVersion, "1.3", "1.3"),
        (TlsVersion, 1.2, "1.2"),
        (ClaimValues, "a", ("a",)),
        (ClaimValues, ("a", 1, True), ("a", 1, True)),
    ],
)
def test_a_setting_becomes_what_it_means(kind: Any, value: object, expected: object) -> None:
    """Each small language is parsed into a type that cannot be wrong."""
    assert expected == read(kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "message", "mend"),
    [
        (Duration, 30, "expected a duration, found the number `30`", "`30s`"),
        (ContextClass, "a b", "`a b` is no authentication context class", "one per entry"),
        (ContextClass, 'a"', '`a"` is no authentication context class', "one per entry"),
        (ContextClass, "", "`` is no authentication context class", "one per entry"),
        (ContextClass, 2, "expected an authentication context class, found the number `2`", "mfa"),
        (AuthenticationMethod, "mfa hwk", "`mfa hwk` is no authentication method", "RFC 8176"),
        (Duration, "30", "`30` is not a duration", "`30s`"),
        (Duration, "5 sec", "`5 sec` is not a duration", "`30s`"),
        (Duration, "-1s", "`-1s` is not a duration", "`30s`"),
        (Duration, "1s\n", "`1s\n` is not a duration", "`30s`"),
        (Duration, "0s", "`0s` is no time at all", "no bound can be switched off"),
        (Duration, "367d", "`367d` is longer than 366 days", "shorter"),
        (Duration, None, "expected a duration, found nothing (null)", "`30s`"),
        (Size, "16KB", "`16KB` is not a size", "`16KiB`"),
        (Size, 1024, "expected a size, found the number `1024`", "`16KiB`"),
        (Size, "0B", "`0B` is not between 1B and 64GiB", "no bound can be switched off"),
        (Size, "65GiB", "`65GiB` is not between 1B and 64GiB", "between"),
        (Rates, "60", "`60` is not a rate", "`60/minute`"),
        (Rates, "0/minute", "`0/minute` is not a rate", "`60/minute`"),
        (Rates, "60/fortnight", "`60/fortnight` is not a rate", "`60/minute`"),
        (Rates, "60/minute; 5/hour", "`60/minute; 5/hour` is not a rate", "`60/minute`"),
        (Rates, ("60/minute", 5), "expected a rate, found the number `5`", "`60/minute`"),
        (ListenAddress, ":8443", "`:8443` is no address to listen on", "`0.0.0.0:8443` for every address"),
        (ListenAddress, "8443", "`8443` is no address to listen on", "`127.0.0.1:8443`"),
        (ListenAddress, "gateway:8443", "`gateway` is not an IP address", "`127.0.0.1:8443`"),
        (ListenAddress, "[1:2]:80", "`1:2` is not an IP address", "`[::1]:8443`"),
        (ListenAddress, "127.0.0.1:65536", "port 65536 is larger than 65535", "`127.0.0.1:8443`"),
        (ListenAddress, "unix:run", "`unix:run` is no unix socket", "absolute path"),
        (ListenAddress, "unix:/" + "x" * 107, f"`unix:/{'x' * 107}` is no unix socket", "107 bytes"),
        (Endpoint, "llama:8000", "`llama` is none of the schemes http, https", "https://host:port"),
        (Endpoint, "ftp://h", "`ftp` is none of the schemes http, https", "https://host:port"),
        (Endpoint, "https://", "`https://` names no host", "https://host:port"),
        (Endpoint, "https://h:99999", "`https://h:99999` is no URL", "https://host:port"),
        (Endpoint, "https://[::1", "`https://[::1` is no URL", "https://host:port"),
        (Endpoint, "https://h:0", "`https://h:0` has port 0", "https://host:port"),
        (Endpoint, "https://h/v1", "an endpoint with the path `/v1`", "remove the path"),
        (Endpoint, "https://h?a=1", "`https://h?a=1` has a query or a fragment", "remove what follows"),
        (Endpoint, "https://h#a", "`https://h#a` has a query or a fragment", "remove what follows"),
        (Endpoint, "https://h?", "`https://h?` has a query or a fragment", "remove what follows"),
        (Endpoint, "https://u@h", "a user name in an endpoint", "`credential:`"),
        (Endpoint, "https://u:p@h", "a password in a URL", "`file:secrets/name`"),
        (Endpoint, "https://h h", "`https://h h` has characters that no URL has", "https://host:port"),
        (Endpoint, "https://-h", "`https://-h` names no host", "https://host:port"),
        (Origin, "https://h/v1", "`https://h/v1` is more than an origin", "scheme, host and port alone"),
        (Origin, "https://u@h", "`https://u@h` is more than an origin", "scheme, host and port alone"),
        (WebUrl, "https://u@h/", "a user name in a URL", "remove it"),
        (WebUrl, "https://[::1]h/", "`https://[::1]h/` names no host", "https://host/path"),
        (WebUrl, "https://h:/", "`https://h:/` names no host", "https://host/path"),
        (WebUrl, "https://127.1/", "`127.1` is an odd spelling of an address", "four numbers"),
        (WebUrl, "https://0x7f.1/", "`0x7f.1` is an odd spelling of an address", "four numbers"),
        (WebUrl, "https://2130706433/", "`2130706433` is an odd spelling of an address", "four numbers"),
        (Endpoint, "http://127.0.0.1.:80", "`127.0.0.1.` is an odd spelling of an address", "four numbers"),
        (
            WebUrl,
            "https://h\uff0eorg/",
            "`https://h\uff0eorg/` has characters that no URL has",
            "https://host/path",
        ),
        (Origin, "https://h/a", "`https://h/a` is more than an origin", "scheme, host and port alone"),
        (Origin, "h", "`` is none of the schemes http, https", "scheme, host and port alone"),
        (WebUrl, "file:x", "`file` is none of the schemes http, https", "https://host/path"),
        (KeySource, "file:", "`file` is none of the schemes http, https", "https://host/path"),
        (KeySource, 1, "expected a URL or file reference, found the number `1`", "jwks"),
        (StateUrl, "memory://x", "`memory` is none of the schemes redis, rediss", "`memory://`"),
        (StateUrl, "redis://h/db", "`/db` is no database number", "`memory://`"),
        (StateUrl, "redis://:pw@h/0", "a password in a URL", "`env:NAME`"),
        (StateUrl, "redis+sentinel://h", "`` is no name of a master", "/master-name/0"),
        (StateUrl, "redis+sentinel://h/m/x", "`/m/x` is no name of a master", "/master-name/0"),
        (StateUrl, "redis+sentinel://h,/m", "`redis://` names no host", "/master-name/0"),
        (StateUrl, "redis+sentinel://h,h:0/m", "`redis://h:0` has port 0", "/master-name/0"),
        (StateUrl, "redis+sentinel://h,u:pw@h/m", "a password in a URL", "`env:NAME`"),
        (StateUrl, "redis+cluster://h,h/1", "`/1` behind the servers of a cluster", "database 0 alone"),
        (StateUrl, "redis+cluster://h,u:pw@h", "a password in a URL", "`env:NAME`"),
        (StateUrl, "redis+cluster://", "`redis://` names no host", "rediss+cluster://user@host"),
        (StateUrl, "redis+odd://h/m", "`redis+odd` is none of the schemes redis, rediss", "sentinel://"),
        (Network, "10.0.0.1/8", "`10.0.0.1/8` has bits set behind its prefix", "write `10.0.0.0/8`"),
        (Network, "10.0.0.0/33", "`10.0.0.0/33` is no network", "`10.0.0.0/8`"),
        (HostName, "https://h", "`https://h` is no host name", "without scheme"),
        (Secret, "hunter2", "a secret must not stand in the configuration", "`env:NAME`"),
        (Secret, "file:", "a secret must not stand in the configuration", "`env:NAME`"),
        (Secret, "env:A-B", "a secret must not stand in the configuration", "`env:NAME`"),
        (Secret, 12, "a secret must not stand in the configuration", "`env:NAME`"),
        (FilePath, "", "expected a path, found the text ``", "relative to this file"),
        (FilePath, ("a",), "expected a path, found a list", "relative to this file"),
        (FilePath, "a\0b", "a path with a NUL character", "remove it"),
        (Name, "a b", "`a b` is not a name", "`chat-1`"),
        (Name, "-a", "`-a` is not a name", "`chat-1`"),
        (Text, " ", "expected a short text that can be printed", "one line"),
        (Text, "x" * 1025, "expected a short text that can be printed", "one line"),
        (Text, {"a": 1}, "expected a text, found a mapping", "`example`"),
        (Text, "\x1b[2J", "expected a short text that can be printed", "one line"),
        (Expression, "", "expected a condition of 1 to 4096 characters", "CEL"),
        (Expression, True, "expected a condition, found `true`", "max_tokens"),
        (RoutePath, "v1", "`v1` does not begin with a slash", "`{name}`"),
        (RoutePath, "/a//b", "`/a//b` has the segment ``, which no canonical path has", "`{name}`"),
        (RoutePath, "/a/../b", "`/a/../b` has the segment `..`, which no canonical path has", "`{name}`"),
        (RoutePath, "/a/%2e", "`/a/%2e` has the segment `%2e`, which no canonical path has", "`{name}`"),
        (RoutePath, "/a/*", "`/a/*` has the segment `*`, which no canonical path has", "`{name}`"),
        (RoutePath, "/**/a", "`/**/a` has the segment `**`, which no canonical path has", "`{name}`"),
        (RoutePath, "/a?b", "`/a?b` has the segment `a?b`, which no canonical path has", "`{name}`"),
        (
            SpiffePattern,
            "spiffe://*/a",
            "`spiffe://*/a` is no pattern of SPIFFE IDs",
            "neither for the domain",
        ),
        (
            SpiffeId,
            "spiffe://example.org/*",
            "`spiffe://example.org/*` is no SPIFFE ID",
            "spiffe://example.org/backend",
        ),
        (ModelPattern, "a b", "`a b` is no model name or pattern", "`*`"),
        (SubjectName, "alice", "`alice` does not say whose subject it is", "|alice"),
        (CertificateName, "XX=1", "`XX=1` is no distinguished name", "RFC 4514"),
        (CertificateName, "a b", "`a b` is no host name", "without scheme"),
        (HeaderName, "a:b", "`a:b` is no header name", "x-request-id"),
        (TlsVersion, "1.1", "expected a TLS version, found the text `1.1`", "older ones are broken"),
        (TlsVersion, {"a": 1}, "expected a TLS version, found a mapping", "older ones are broken"),
        (TlsVersion, True, "expected a TLS version, found `true`", "older ones are broken"),
        (
            ClaimValues,
            (1.5,),
            "expected a text, a whole number or true/false, found the number `1.5`",
            "research",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_mend(
    kind: Any, value: object, message: str, mend: str
) -> None:
    """Every refusal says what stands there and how to mend it."""
    said = refusal(kind, value)

    assert message == said["message"]
    assert mend in said["mend"]


@pytest.mark.parametrize("kind", [Secret, Endpoint, StateUrl])
def test_a_refused_secret_is_not_in_the_message(kind: Any) -> None:
    """Neither a literal secret nor a password in a URL is ever repeated."""
    said = refusal(kind, "redis://u:hunter2@h" if kind is StateUrl else "https://u:hunter2@h")

    assert "hunter2" not in said["message"] + said["mend"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (ListenAddress, "127.0.0.1:1", True),
        (ListenAddress, "127.9.9.9:1", True),
        (ListenAddress, "[::1]:1", True),
        (ListenAddress, "LOCALHOST:1", True),
        (ListenAddress, "unix:/s", True),
        (ListenAddress, "0.0.0.0:1", False),
        (ListenAddress, "[::]:1", False),
        (Endpoint, "http://localhost:1", True),
        (Endpoint, "http://localhost.example.org:1", False),
        (Endpoint, "http://10.0.0.1", False),
        (KeySource, "file:x", True),
        (StateUrl, "memory://", True),
    ],
)
def test_local_means_this_machine_without_asking_a_resolver(kind: Any, value: str, expected: bool) -> None:
    """Only loopback addresses, `localhost` and unix sockets are local."""
    assert expected == read(kind, value).is_local


@given(st.integers(1, 10**6), st.sampled_from(["ms", "s", "m"]))
def test_durations_are_linear_in_their_number(count: int, unit: str) -> None:
    """A thousand milliseconds are a second, sixty seconds a minute."""
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0}[unit]
    if count * scale > 366 * 86400:
        assert "longer" in refusal(Duration, f"{count}{unit}")["message"]
    else:
        assert count * scale == pytest.approx(read(Duration, f"{count}{unit}"))


KINDS = [
    Duration,
    Size,
    Rates,
    ListenAddress,
    Endpoint,
    WebUrl,
    Origin,
    KeySource,
    StateUrl,
    Network,
    HostName,
    Secret,
    FilePath,
]
KINDS += [
    Name,
    Text,
    Expression,
    RoutePath,
    SpiffePattern,
    SpiffeId,
    ModelPattern,
    SubjectName,
    CertificateName,
    HeaderName,
]


@given(
    st.sampled_from(KINDS),
    st.text(max_size=40) | st.from_regex(r"(https?|rediss?|unix|file):[/\[\]a:0-9@?#.]{0,20}"),
)
def test_no_text_makes_a_parser_raise_anything_else(kind: Any, value: str) -> None:
    """A text either becomes a value or is refused in our words."""
    with contextlib.suppress(ValidationError):
        read(kind, value)
        return

    assert refusal(kind, value)["mend"]


def test_a_secret_reference_is_written_with_an_absolute_path() -> None:
    """Whoever resolves it needs no directory."""
    assert read(Secret, "file:s/t").text == "file:/etc/gateway/s/t"
    assert read(Secret, "env:TOKEN").text == "env:TOKEN"
