"""What lies outside the file: paths, secrets, key sets. Made absolute here, opened elsewhere."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, final

from pydantic import PlainValidator, ValidationInfo

from gateway.config.addresses import Url, web_url
from gateway.config.texts import describe, placed_type, refused, schema


@final
@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret lies; never the secret.

    Args:
        kind: "file" or "env".
        target: Absolute path, or name of the environment variable.
    """

    kind: Literal["file", "env"]
    target: str

    @property
    def text(self) -> str:
        """The reference as it is written, with an absolute path."""
        return f"{self.kind}:{self.target}"


def _secret(value: object, info: ValidationInfo) -> SecretReference:
    mend = "put the secret into a file or the environment, and refer to it: `file:secrets/name` or `env:NAME`"
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "file" and rest:
        return SecretReference("file", str(absolute(rest, info)))
    if kind == "env" and re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", rest):
        return SecretReference("env", rest)
    raise refused("a secret must not stand in the configuration", mend, is_secret=True)


def absolute(text: str, info: ValidationInfo) -> Path:
    """Resolve a path against the directory of the configuration file."""
    directory: Path = info.context["directory"] if info.context else Path()
    if "\0" in text:
        raise refused("a path with a NUL character", "remove it")
    return directory / text


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value:
        raise refused(
            f"expected a path, found {describe(value)}", "write a path, relative to this file or absolute"
        )
    return absolute(value, info)


def _keys(text: str, info: ValidationInfo) -> Url:
    if text.startswith("file:") and len(text) > len("file:"):
        path = str(absolute(text.removeprefix("file:"), info))
        return Url("file", "", 0, path, text)
    return web_url(text)


FilePath: TypeAlias = Annotated[Path, PlainValidator(_path), schema("path", "certs/gateway.pem")]
Secret: TypeAlias = Annotated[
    SecretReference,
    PlainValidator(_secret),
    schema("secret reference", "file:secrets/token", r"^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$"),
]
KeySource: TypeAlias = Annotated[
    Url,
    PlainValidator(placed_type("a URL or file reference", _keys, "https://idp.example.org/jwks")),
    schema("URL or file reference", "https://idp.example.org/jwks"),
]
