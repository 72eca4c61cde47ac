"""Conditions in CEL: compiled and type-checked when the configuration is loaded, asked per request.

Three answers: True, False, or None for "it cannot be said": an attribute is absent, a claim is
missing, a value has the wrong type, a bound of the runtime was met. The runtime returns errors as
values that Python takes for true, therefore only the value `True` itself ever means true here, and
None never allows. What is decided is a condition alone; what it means for a rule is `policy`'s.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, final

from cel_expr_python import cel

from gateway.stages.authorize.attributes import ATTRIBUTES, BY_NAME, ROOTS, Facts, Kind, Known
from gateway.stages.authorize.expressions import (
    PRESENCE,
    ConditionError,
    Expression,
    position,
    scan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REMEMBERED: Final = 1024  # verdicts per condition; then all are forgotten
MAX_TEXT: Final = 512  # characters of one value; a verdict on longer ones is not remembered
MAX_CHARACTERS: Final = 4096  # of a condition

_ERROR: Final = re.compile(r"ERROR: [^\n:]*:(-?\d+):(-?\d+): ([^\n]*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']+)'")
_FAILURES: Final = (
    RuntimeError,
    ValueError,
    TypeError,
    OverflowError,
)  # what the runtime raises, beside values

_TYPES: Final = {
    Kind.STRING: cel.Type.STRING,
    Kind.BOOL: cel.Type.BOOL,
    Kind.INT: cel.Type.INT,
    Kind.DOUBLE: cel.Type.DOUBLE,
    Kind.STRINGS: cel.Type.List(cel.Type.STRING),
    Kind.CLAIMS: cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    Kind.TIMESTAMP: cel.Type.TIMESTAMP,
}
_ENV: Final = cel.NewEnv(
    variables={attribute.name: _TYPES[attribute.kind] for attribute in ATTRIBUTES}
    | {PRESENCE + attribute.name: cel.Type.BOOL for attribute in ATTRIBUTES}
)
# Constant arguments that only fail when they are used: tried once, when the condition is compiled.
_PROBES: Final[Mapping[str, tuple[str, str]]] = {
    "matches": ("''.matches({})", "is no regular expression (RE2 syntax)"),
    "timestamp": ("timestamp({})", "is no RFC 3339 time"),
    "duration": ("duration({})", "is no duration, such as '90s'"),
} | {
    name: (f"timestamp('2000-01-01T00:00:00Z').{name}({{}})", "is no time zone of this system")
    for name in (
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
    )
}


@final
class _Inputs:
    """What a condition takes from the facts in one phase, and the verdicts already known for it."""

    __slots__ = ("attributes", "reads", "remembered", "tests")

    def __init__(self, reads: frozenset[str], tests: frozenset[str], *, is_head: bool) -> None:
        phases = {Known.HEAD} if is_head else set(Known)
        chosen = [attribute for attribute in ATTRIBUTES if attribute.known in phases]
        self.attributes = tuple([a for a in chosen if a.name in reads or a.name in tests])
        self.reads = tuple([a for a in self.attributes if a.name in reads])
        self.tests = tuple([a for a in self.attributes if a.name in tests])
        self.remembered: dict[object, bool | None] = {}

    def bind(self, facts: Facts) -> dict[str, object]:
        """Return the runtime's variables; what is absent stays unbound."""
        data: dict[str, object] = {PRESENCE + a.name: a.read(facts) is not None for a in self.tests}
        for attribute in self.reads:
            value = attribute.read(facts)
            bound = None if value is None else attribute.convert(value)
            if bound is not None:
                data[attribute.name] = bound
        return data


@final
class Condition:
    """One compiled condition. Made by `compile_condition`.

    Args:
        text: As written.
        reads: Attributes that it may read.
        needs_body: True if one of them is known from the body only.
        constant: Its verdict whatever the request is, or None if it has none.
    """

    __slots__ = ("_at_end", "_at_head", "_program", "constant", "needs_body", "reads", "text")

    def __init__(self, expression: Expression, program: cel.Expression) -> None:
        reads, tests = expression.reads, expression.tests
        self.text = expression.source
        self.reads = reads | tests
        self.needs_body = any(BY_NAME[name].known is Known.BODY for name in self.reads)
        self.constant = _verdict(program, {})
        self._program = program
        self._at_end = _Inputs(reads, tests, is_head=False)
        self._at_head = _Inputs(reads, tests, is_head=True) if self.needs_body else self._at_end

    def ask(self, facts: Facts) -> bool | None:
        """Evaluate over a whole request.

        Args:
            facts: With prompt and risk.

        Returns:
            True or False; None if it cannot be evaluated, which never allows.
        """
        return self._ask(self._at_end, facts)

    def ask_head(self, facts: Facts) -> bool | None:
        """Evaluate over what the head tells.

        An unbound variable is an error that `false && ...` and `true || ...` absorb, so an answer
        that comes out although the body is missing is the answer for every body.

        Args:
            facts: With or without prompt and risk, which are not looked at.

        Returns:
            True or False if nothing in a body could change it; None if it depends on the body, or,
            where `needs_body` is False, if it cannot be evaluated.
        """
        return self._ask(self._at_head, facts)

    def _ask(self, inputs: _Inputs, facts: Facts) -> bool | None:
        attributes = inputs.attributes
        if len(attributes) == 1:
            key: object = attributes[0].read(facts)
        elif attributes:
            key = tuple([attribute.read(facts) for attribute in attributes])
        else:
            return self.constant
        remembered = inputs.remembered
        try:
            return remembered[key]
        except KeyError:
            verdict = _verdict(self._program, inputs.bind(facts))
        if _is_small(key):
            if len(remembered) >= MAX_REMEMBERED:
                remembered.clear()
            remembered[key] = verdict
        return verdict


def compile_condition(text: str) -> Condition:
    """Compile and type-check one condition.

    Args:
        text: CEL over the attributes of `attributes.ATTRIBUTES`.

    Returns:
        The condition.

    Raises:
        ConditionError: It does not parse, reads something undeclared, compares what cannot be
            compared, is not a yes-or-no question, or has a constant that can only fail.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"a condition has at most {MAX_CHARACTERS} characters")
    expression = scan(text, BY_NAME, ROOTS)
    try:
        program = _ENV.compile(expression.text)
    except _FAILURES as cause:
        raise _explain(text, str(cause)) from cause
    if program.return_type() != cel.Type.BOOL:
        found = program.return_type().name().lower()
        raise ConditionError(
            f"a condition is true or false, this is of type {found}: compare it with something"
        )
    _probe(expression)
    return Condition(expression, program)


def _is_small(key: object) -> bool:
    """Tell whether a key may be kept: texts in it can be the client's, and as long as its body."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(not isinstance(part, str) or len(part) <= MAX_TEXT for part in parts)


def _verdict(program: cel.Expression, data: dict[str, object]) -> bool | None:
    try:
        value: object = program.eval(None, data).value()
    except _FAILURES:  # iteration budget, text that is no Unicode: raised instead of returned
        return None
    if value is True:
        return True
    return False if value is False else None


def _probe(expression: Expression) -> None:
    tokens = expression.tokens
    for name, bracket, literal, end in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        probe = _PROBES.get(name.text)
        if probe is None or bracket.text != "(" or literal.kind != "string" or end.text != ")":
            continue
        template, complaint = probe
        # it compiles: it is a part of what has just been compiled
        outcome = _ENV.compile(template.format(literal.text)).eval(None, {}).type()
        if outcome == cel.Type.ERROR:
            raise ConditionError(f"the constant {complaint}", *position(expression.source, literal.start))


def _explain(text: str, complaint: str) -> ConditionError:
    """Turn the compiler's text into ours: first error, exact place, the mend where it is known."""
    found = _ERROR.search(complaint)
    if found is None:
        return ConditionError("the condition is nested too deeply; simplify it or use several rules")
    line, column, message = max(1, int(found[1])), max(1, int(found[2])), found[3]
    message = message.replace(" (in container '')", "").removesuffix(" [INVALID_ARGUMENT]")
    undeclared = _UNDECLARED.search(message)
    if undeclared is not None:
        name = undeclared[1]
        # the compiler points at the last dot; the name begins before it
        starts = [m.start() + 1 for m in re.finditer(re.escape(name), text.split("\n")[line - 1])]
        column = max((start for start in starts if start <= column), default=column)
        near = get_close_matches(name, BY_NAME, n=1, cutoff=0.6)
        message = f"undeclared reference to '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
    elif "(double, int)" in message:
        message += "; write the number with a decimal point"
    return ConditionError(message, line, column)


def check_runtime(env: cel.Env) -> None:
    """Make sure that this runtime fails closed, whatever distribution it came from.

    Args:
        env: An environment that declares the attributes.

    Raises:
        ImportError: A missing attribute is not an error, or true is not `True`.
    """
    if _verdict(env.compile("request.stream"), {}) is None and _verdict(env.compile("true"), {}) is True:
        return
    raise ImportError("this expression runtime does not behave like cel-expr-python 0.1")


check_runtime(_ENV)
