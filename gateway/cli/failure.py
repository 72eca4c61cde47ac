"""What a command says when it cannot do its work: what is wrong and how to mend it, as `gateway check`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, final

from gateway.credentials.development import fingerprint
from gateway.credentials.files import unusable

if TYPE_CHECKING:
    from pathlib import Path


@final
class Unusable(Exception):
    """What was given to a command is of no use; the text is for the person at the terminal."""


def told(message: str, mend: str) -> str:
    """Put together what is wrong, and how to mend it."""
    return f"{message}\n      = mend: {mend}"


def of_file(failure: OSError) -> str:
    """Say what is wrong with a file, and how to mend it."""
    return told(*unusable(failure))


def fail(command: str, text: str, code: int) -> int:
    """Say on the error output why a command ends, and return its exit code.

    Args:
        command: Without the program's name.
        text: One or more lines.
        code: 1 the answer is no, 2 it could not be done.
    """
    print(f"gateway {command}: {text}", file=sys.stderr)
    return code


def thumbprint(certificate: Path) -> str:
    """Return the SHA-256 of the first certificate in a PEM file, in base64url.

    Raises:
        Unusable: There is none.
    """
    try:
        return fingerprint(certificate)
    except FileNotFoundError:
        mend = f"for development, `gateway certs issue {certificate.stem}` makes it; or correct the path"
        raise Unusable(told(f"there is no file {certificate}", mend)) from None
    except OSError as failure:
        raise Unusable(of_file(failure)) from None
    except ValueError:
        mend = "give a PEM file: it begins with `-----BEGIN`"
        raise Unusable(told(f"{certificate} holds no readable certificate", mend)) from None
