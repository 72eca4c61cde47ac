"""`target`: which URLs a proof may name, and mean this request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.identify.target import find_target, normalise

ORIGINS = ("https://gateway.example.org", "http://127.0.0.1:8080", "https://[2001:db8::1]:8443")
PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    "url",
    [
        "https://gateway.example.org/v1/chat/completions",
        "https://gateway.example.org:443/v1/chat/completions",
        "https://gateway.example.org:/v1/chat/completions",
        "HTTPS://Gateway.Example.ORG/v1/chat/completions",
        "https://gateway.example.org/v1/chat/completions?model=x&y",
        "https://gateway.example.org/v1/chat/completions#part",
        "https://gateway.example.org/v1/chat/completions?a#b?c",
        "https://gateway.example.org/v1/%63hat/completions",
        "https://gateway.example.org/v1/./chat/../chat/completions",
        "https://gateway.example.org/v1/%2e/chat/completions",
        "http://127.0.0.1:8080/v1/chat/completions",
        "https://[2001:DB8::1]:8443/v1/chat/completions",
    ],
)
def test_the_same_url_in_another_spelling_is_taken(url: str) -> None:
    """RFC 3986, sections 6.2.2 and 6.2.3, and RFC 9449, section 4.3: query and fragment do not count."""
    found = find_target(url, ORIGINS, PATH)

    assert found is not None
    assert found in [origin + PATH for origin in ORIGINS]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v1/chat/completions",
        "gateway.example.org/v1/chat/completions",
        "//gateway.example.org/v1/chat/completions",
        "https://gateway.example.org",
        "https://gateway.example.org/",
        "http://gateway.example.org/v1/chat/completions",
        "https://gateway.example.org:80/v1/chat/completions",
        "https://gateway.example.org:0443/v1/chat/completions",
        "https://gateway.example.org:8443/v1/chat/completions",
        "https://evil.example/v1/chat/completions",
        "https://gateway.example.org.evil.example/v1/chat/completions",
        "https://gateway.example.org@evil.example/v1/chat/completions",
        "https://user@gateway.example.org/v1/chat/completions",
        "https://gateway.example.org\\@evil.example/v1/chat/completions",
        "https://gateway.example.org/v1/chat/completions/",
        "https://gateway.example.org/v1//chat/completions",
        "https://gateway.example.org/V1/chat/completions",
        "https://gateway.example.org/v1/chat%2Fcompletions",
        "https://gateway.example.org/v1/chat/completions%20",
        "https://gateway.example.org/v1/chat/completions ",
        " https://gateway.example.org/v1/chat/completions",
        "https://gateway.example.org/v1/chat/completions\n",
        "https://gateway.example.org/v1/chat/completions\0",
        "https://gateway.example.org/v1/chat/compl\u00e9tions",
        "http\u017f://gateway.example.org/v1/chat/completions",
        "https://gateway.example.org/v1/models",
        "https://gateway.example.org/v1/models?/v1/chat/completions",
        "https://gateway.example.org/v1/models#/v1/chat/completions",
        "urn:x:/v1/chat/completions",
    ],
)
def test_another_url_is_another_url(url: str) -> None:
    """What no normalisation makes equal was not meant for this request."""
    assert None is find_target(url, ORIGINS, PATH)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h", "https://h/"),
        ("https://h/..", "https://h/"),
        ("https://h/a/b/..", "https://h/a/"),
        ("https://h/a/.", "https://h/a/"),
        ("https://h/a/../../b", "https://h/b"),
        ("https://h/%c3%a9%7e%2F", "https://h/%C3%A9~%2F"),
        ("https://h/%zz%4", "https://h/%zz%4"),
        ("https://h:08/", "https://h:08/"),
        ("http://h:80?", "http://h/"),
    ],
)
def test_urls_are_normalised_as_the_rfc_says(url: str, expected: str) -> None:
    """One spelling for every URL."""
    assert expected == normalise(url)


@given(st.text(max_size=60), st.sampled_from(["https://gateway.example.org", "HTTPS://h:443", ""]))
def test_normalising_is_total_and_done_once(text: str, start: str) -> None:
    """Any text is taken or refused, and what was normalised stays as it is."""
    once = normalise(start + text)

    assert once is None or once == normalise(once)
