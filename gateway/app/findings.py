"""Collects what is wrong with a configuration, wherever the compilation finds it, to report it whole."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from gateway.config.errors import ConfigurationError
from gateway.credentials.jwk import JwksError
from gateway.credentials.secrets import SecretError
from gateway.credentials.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.errors import Problem
    from gateway.config.load import Loaded
    from gateway.config.source import Path as Place


@final
class Findings:
    """Problems of one configuration, each with its place in the file.

    Args:
        loaded: The configuration.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._problems: list[Problem] = []

    def add(self, place: Place, message: str, mend: str) -> None:
        """Note a problem.

        Args:
            place: Keys and indices, e.g. `("routes", 0, "schema")`.
            message: What is wrong, without a full stop.
            mend: How to mend it.
        """
        self._problems.append(self._loaded.problem(place, message.rstrip("."), mend))

    @contextmanager
    def at(self, place: Place, mend: str) -> Iterator[None]:
        """Note what goes wrong with a file or value of the configuration, and go on."""
        try:
            yield
        except (TlsError, SecretError, JwksError, ValueError) as unusable:
            self.add(place, str(unusable), mend)
        except OSError as unreadable:
            self.add(place, f"{unreadable.filename}: {unreadable.strerror}", mend)

    def conclude(self) -> None:
        """Raise if anything was found.

        Raises:
            ConfigurationError: With everything that was found.
        """
        if self._problems:
            raise ConfigurationError(self._problems)
