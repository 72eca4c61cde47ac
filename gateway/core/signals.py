"""What an identity has done lately, and how unusual that is: history, signals, risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
class History:
    """Decayed counters of one identity: each halves in the counters' half-life.

    Args:
        requests: Requests.
        refusals: Refusals of every kind.
        denials: Refusals by policy (model, role, rule): probing.
        malformed: Refusals by inspection: fuzzing.
        credentials: Refused credentials that claimed to be this identity's, where that is known.
        input_bytes: Bytes of request bodies.
        output_bytes: Bytes of answers.
        tokens: Tokens of input and output, as far as metered.
        models: Estimate of distinct models asked for.
        prompts: Estimate of distinct prompts.
    """

    __slots__ = (
        "credentials",
        "denials",
        "input_bytes",
        "malformed",
        "models",
        "output_bytes",
        "prompts",
        "refusals",
        "requests",
        "tokens",
    )

    def __init__(
        self,
        requests: float = 0.0,
        refusals: float = 0.0,
        denials: float = 0.0,
        malformed: float = 0.0,
        credentials: float = 0.0,
        input_bytes: float = 0.0,
        output_bytes: float = 0.0,
        tokens: float = 0.0,
        models: float = 0.0,
        prompts: float = 0.0,
    ) -> None:
        self.requests = requests
        self.refusals = refusals
        self.denials = denials
        self.malformed = malformed
        self.credentials = credentials
        self.input_bytes = input_bytes
        self.output_bytes = output_bytes
        self.tokens = tokens
        self.models = models
        self.prompts = prompts


@final
@dataclass(frozen=True)
class Signal:
    """One named observation that speaks for abuse.

    Args:
        name: The detector's name.
        strength: In [0, 1]: 0 says nothing, 1 is decisive.
        evidence: Numbers for the reviewer; never content.
    """

    name: str
    strength: float
    evidence: str


@final
@dataclass(frozen=True)
class Risk:
    """The verdict on one request: a score in [0, 1] and the signals it is made of."""

    score: float
    signals: tuple[Signal, ...] = ()


NO_RISK = Risk(0.0)
