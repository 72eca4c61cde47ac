"""Collects what is wrong with a configuration, wherever the compilation finds it, to report it whole."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, final

from gateway.config.errors import ConfigurationError
from gateway.credentials.files import unusable
from gateway.credentials.jwk import JwksError
from gateway.credentials.secrets import SecretError, resolve_secret
from gateway.credentials.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.config.errors import Problem
    from gateway.config.load import Loaded
    from gateway.config.references import SecretReference
    from gateway.config.source import Path as Place

RANDOM_MEND: Final = "make one: `(umask 077; head -c 32 /dev/urandom | base64 > FILE)`"


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
        """Note what goes wrong with a file or value of the configuration, and go on.

        Args:
            place: See `add`.
            mend: How to mend what says nothing of that itself.
        """
        try:
            yield
        except SecretError as error:
            self.add(place, str(error), error.mend)
        except (TlsError, JwksError, ValueError) as error:
            self.add(place, str(error), mend)
        except OSError as error:
            self.add(place, *unusable(error))

    def secret(self, place: Place, reference: SecretReference | None, directory: Path) -> str | None:
        """Return the secret that a reference leads to; None if there is no reference, or a finding instead.

        Args:
            place: See `add`.
            reference: As configured.
            directory: Directory of the configuration.
        """
        if reference is None:
            return None
        try:
            return resolve_secret(reference.text, directory)
        except SecretError as error:
            self.add(place, str(error), error.mend)
        return None

    def conclude(self) -> None:
        """Raise if anything was found.

        Raises:
            ConfigurationError: With everything that was found.
        """
        if self._problems:
            raise ConfigurationError(self._problems)
