"""The one way from a file to settings: reads, validates, cross-checks, and reports everything at once.

Opens the files that the configuration names, to check them. Never opens a socket, never reads the
value of a secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from gateway.config.checks import check
from gateway.config.errors import ConfigurationError, Problem
from gateway.config.partial import validate
from gateway.config.source import NOWHERE, Source
from gateway.config.yaml import MAX_BYTES, parse

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.schema import Settings
    from gateway.config.source import Path as Place
    from gateway.core.ports import Clock


@final
@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that may be run.

    Args:
        settings: The settings.
        digest: SHA-256 of the file's bytes, lower-case hexadecimal.
        warnings: What an operator should know, in the order of the file.
        source: Where everything stands.
    """

    settings: Settings
    digest: str
    warnings: tuple[Problem, ...]
    source: Source

    def problem(self, path: Place, message: str, mend: str) -> Problem:
        """Give a problem that was found later its place in the file.

        Args:
            path: Keys and indices, e.g. `("routes", 0, "allow", 1, "when")`; if the last ones do not
                stand in the file, their nearest ancestor is shown.
            message: What is wrong, without a full stop.
            mend: How to mend it.
        """
        return self.source.problem(self.source.find(path), message, mend)


def load(path: Path, clock: Clock) -> Loaded:
    """Load a configuration.

    Args:
        path: The YAML file. Relative paths in it are relative to its directory.
        clock: To judge certificates and revocation lists by.

    Returns:
        Settings that passed every check that needs no socket and no secret.

    Raises:
        ConfigurationError: With everything that is wrong.
    """
    return load_bytes(read(path), path, clock)


def load_bytes(data: bytes, path: Path, clock: Clock) -> Loaded:
    """Load a configuration that was read before: workers run what was checked, whatever the file is by now.

    Args:
        data: What stood in the file.
        path: The file, for messages; relative paths are relative to its directory.
        clock: To judge certificates and revocation lists by.

    Raises:
        ConfigurationError: With everything that is wrong.
    """
    document = parse(data, str(path))
    partial = validate(document, path.parent.absolute())
    problems = [*document.problems, *partial.problems]
    warnings: list[Problem] = []
    for finding in check(partial, document.tree, clock.wall()):
        place = document.source.find(finding.path, is_key=finding.is_key)
        problem = document.source.problem(place, finding.message, finding.mend)
        (warnings if finding.is_warning else problems).append(problem)
    if problems or partial.settings is None:
        raise ConfigurationError(problems)
    warnings.sort(key=lambda problem: (problem.line, problem.column))
    return Loaded(partial.settings, hashlib.sha256(data).hexdigest(), tuple(warnings), document.source)


def read(path: Path) -> bytes:
    """Return what stands in a configuration file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as fault:
        message = f"the file cannot be read: {(fault.strerror or 'unknown reason').lower()}"
        mend = "give the path of a file that the gateway may read"
        raise ConfigurationError([Source(str(path)).problem(NOWHERE, message, mend)]) from fault
    except ValueError as fault:
        message = "the path has a NUL character"
        raise ConfigurationError([Source("?").problem(NOWHERE, message, "give another path")]) from fault
