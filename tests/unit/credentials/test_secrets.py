"""`secrets`: references lead to secrets, and errors never contain them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.credentials.secrets import MAX_SECRET_BYTES, SecretError, resolve_secret


def test_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the configuration's directory; newlines at the end are an editor's."""
    (tmp_path / "key").write_text("s3cret key \r\n\n")
    monkeypatch.setenv("GATEWAY_TEST_SECRET", "from the environment")

    assert "s3cret key " == resolve_secret("file:key", tmp_path)
    assert "s3cret key " == resolve_secret(f"file:{tmp_path / 'key'}", Path("/"))
    assert "from the environment" == resolve_secret("env:GATEWAY_TEST_SECRET", tmp_path)


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("s3cret", "given as"),
        ("file:", "given as"),
        ("http:x", "given as"),
        ("file:none", "there is no file .*/none"),
        ("file:empty", "is empty"),
        ("file:lines", "one line"),
        ("file:binary", "not UTF-8"),
        ("file:large", "too large"),
        ("file:.", "cannot be used: is a directory"),
        ("env:GATEWAY_TEST_UNSET", "the environment variable GATEWAY_TEST_UNSET is not set"),
        ("env:GATEWAY_TEST_EMPTY", "the environment variable GATEWAY_TEST_EMPTY is empty"),
    ],
)
def test_bad_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, fault: str) -> None:
    """Each fault has its sentence, and how to mend it; none repeats a secret."""
    monkeypatch.setenv("GATEWAY_TEST_EMPTY", "")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("a\nb\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"a" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(SecretError, match=fault) as error:
        resolve_secret(reference, tmp_path)

    assert "s3cret" not in str(error.value)
    assert error.value.mend
