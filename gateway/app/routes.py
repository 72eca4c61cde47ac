"""Compiles routes: rules with their conditions, limits, body checks, detectors, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.app.limits import compile_budgets, compile_limits
from gateway.config.proofs import EITHER
from gateway.core.route import Bounds, Continuous, Requirements, Route, RouteTable
from gateway.stages.authorize.assurance import RequiredAuthentication
from gateway.stages.authorize.challenged import Challenged
from gateway.stages.authorize.conditions import compile_condition
from gateway.stages.authorize.expressions import ConditionError
from gateway.stages.authorize.lint import lint
from gateway.stages.authorize.policy import Rules
from gateway.stages.authorize.rules import Effect, Rule
from gateway.stages.inspect.catalog import DIALECTS, build_inspector
from gateway.stages.inspect.json_schema import SchemaError
from gateway.stages.meter import METERS
from gateway.stages.score.catalog import DETECTORS

if TYPE_CHECKING:
    from pathlib import Path as File

    from gateway.app.findings import Findings
    from gateway.config.authentication import AuthenticationRequirement
    from gateway.config.routing import Requirements as RequirementSettings
    from gateway.config.routing import Route as RouteSettings
    from gateway.config.routing import Rule as RuleSettings
    from gateway.config.schema import Settings
    from gateway.config.source import Path as Place
    from gateway.core.ports import Detector, Inspector
    from gateway.stages.authorize.conditions import Condition

MAX_SCHEMA_BYTES = 1024 * 1024


def compile_routes(settings: Settings, fingerprint_key: bytes | None, findings: Findings) -> RouteTable:
    """Compile all routes.

    Args:
        settings: The settings.
        fingerprint_key: Key of the digests that stand for prompts; None where one process counts alone.
        findings: Takes what is wrong.
    """
    routes: list[Route] = []
    priorities = {name: role.priority for name, role in settings.roles.items() if role.priority is not None}
    challenged = Challenged()  # one for all routes: the same demand is the same challenge
    for index, route in enumerate(settings.routes):
        compiled = _route(
            route, ("routes", index), settings, fingerprint_key, challenged, priorities, findings
        )
        if compiled is not None:
            routes.append(compiled)
    return RouteTable(routes)


def _route(
    route: RouteSettings,
    place: Place,
    settings: Settings,
    fingerprint_key: bytes | None,
    challenged: Challenged,
    priorities: dict[str, int],
    findings: Findings,
) -> Route | None:
    rules = _rules(route, place, findings)
    detectors = _detectors(route, place, findings)
    inspector = _inspector(route, place, fingerprint_key, findings)
    if inspector is None:
        return None
    dialect = DIALECTS[route.dialect]
    bounds = route.bounds
    is_local = settings.state.on_failure == "local"
    backend = settings.backends.get(route.backend)  # None: reported where it is named
    queue_time = 0.0 if backend is None else backend.queue.time
    return Route(
        name=route.name,
        methods=frozenset(route.match.methods),
        path=route.match.path,
        backend=route.backend,
        dialect=route.dialect,
        require=_requirements(route.require, challenged),
        policy=Rules(route.name, rules),
        limits=compile_limits(route, queue_time, is_local=is_local),
        budgets=compile_budgets(route, place, settings, findings, is_local=is_local),
        inspector=inspector,
        meter=METERS[route.dialect],
        detectors=detectors,
        risk_bar=route.risk.bar,
        bounds=Bounds(
            body=bounds.body,
            body_time=bounds.body_time,
            connect=bounds.connect,
            first_byte=bounds.first_byte,
            idle=bounds.idle,
            answer=bounds.answer,
            answer_time=bounds.answer_time,
        ),
        request_headers=dialect.request_headers.union(route.headers.request),
        answer_headers=dialect.answer_headers.union(route.headers.answer),
        continuous=Continuous(
            ends_at_expiry=route.continuous.expiry == "end",
            ends_by_policy=route.continuous.policy == "end",
            every=route.continuous.every,
        ),
        priorities=priorities,
    )


def _rules(route: RouteSettings, place: Place, findings: Findings) -> list[Rule]:
    rules: list[Rule] = []
    for effect, group in ((Effect.DENY, route.deny), (Effect.ALLOW, route.allow)):
        for index, rule in enumerate(group):
            rules.append(_rule(rule, effect, (*place, effect.value, index), findings))
    for finding in lint(rules):
        findings.add((*place, "allow"), finding, "correct or remove the rule")
    return rules


def _rule(rule: RuleSettings, effect: Effect, place: Place, findings: Findings) -> Rule:
    condition: Condition | None = None
    if rule.when is not None:
        try:
            condition = compile_condition(rule.when)
        except ConditionError as error:
            where = f"line {error.line}, column {error.column} of the condition"
            findings.add(
                (*place, "when"), f"{error} ({where})", "see the table of attributes in docs/policy.md"
            )
    return Rule(
        rule.name, effect, roles=rule.roles, models=rule.models, networks=rule.networks, when=condition
    )


def _requirements(require: RequirementSettings, challenged: Challenged) -> Requirements:
    token = require.token
    authentication = _assurance(require.authentication, challenged)
    if token is None:
        return Requirements(
            certificate=require.certificate, token=authentication is not None, authentication=authentication
        )
    return Requirements(
        certificate=require.certificate,
        token=True,
        bound=bool(token.bound),
        binding="" if token.bound == EITHER else token.bound,
        scopes=frozenset(token.scopes),
        max_age=token.max_age,
        key=token.keys == "allow",
        authentication=authentication,
    )


def _assurance(
    required: AuthenticationRequirement | None, challenged: Challenged
) -> RequiredAuthentication | None:
    if required is None:
        return None
    return RequiredAuthentication(
        acr=required.acr,
        amr=required.amr,
        max_age=required.max_age,
        proofs=required.proofs,
        challenged=challenged,
    )


def _detectors(route: RouteSettings, place: Place, findings: Findings) -> tuple[Detector, ...]:
    detectors: list[Detector] = []
    for index, name in enumerate(route.risk.detectors):
        factory = DETECTORS.get(name)
        if factory is None:
            mend = f"there are {', '.join(sorted(DETECTORS))}"
            findings.add((*place, "risk", "detectors", index), f"`{name}` is no detector", mend)
        else:
            detectors.append(factory())
    return tuple(detectors)


def _inspector(
    route: RouteSettings, place: Place, fingerprint_key: bytes | None, findings: Findings
) -> Inspector | None:
    schema: object | None = None
    if route.schema_file is not None:
        with findings.at((*place, "schema"), "give a readable JSON file"):
            schema = _read_schema(route.schema_file)
    try:
        return build_inspector(
            route.dialect,
            fingerprint_key=fingerprint_key,
            schema=schema,
            extra_fields=route.extra_fields == "allow",
        )
    except SchemaError as error:
        where = f" at {error.pointer}" if error.pointer else ""
        findings.add((*place, "schema"), f"{error.message}{where}", "correct the schema")
    except ValueError as error:
        findings.add((*place, "extra_fields"), str(error), "remove this line")
    return None


def _read_schema(file: File) -> object:
    with file.open("rb") as stream:
        data = stream.read(MAX_SCHEMA_BYTES + 1)
    if len(data) > MAX_SCHEMA_BYTES:
        raise ValueError(f"{file} is larger than {MAX_SCHEMA_BYTES} bytes")
    try:
        document: object = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    return document
