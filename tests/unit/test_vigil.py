"""Continuous verification: what ends a running exchange, what does not, and when it is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import pytest

from gateway.core.exchange import Exchange
from gateway.core.gateway_key import GatewayKey
from gateway.core.identity import Identity
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.core.revocation import Revocation, Target
from gateway.core.route import Continuous, RouteTable
from gateway.core.signals import NO_RISK
from gateway.stages.identify import Domain, Identification, Issuer, OpaqueIssuer, RoleMap, RoleRule
from gateway.vigil import Vigil
from tests.doubles.line import CERTIFICATE, Line
from tests.doubles.outside import WALL

if TYPE_CHECKING:
    from gateway.core.introspection import Introspected
    from gateway.core.ports import Reply

ADA = Identity(
    "https://idp|ada", "https://idp", "ada", ("jwt", "mtls"), frozenset({"reader"}), WALL + 100,
    token="0" * 16, signing_key="kid", certificate=CERTIFICATE.fingerprint, issued=WALL - 10,
    claims={"groups": ["readers"]},
)  # fmt: skip
DENIED = Refusal(Reason.NO_RULE_ALLOWS, "no", note="hours")


@final
class Held:
    """Revocations that a test can change."""

    def __init__(self) -> None:
        self.version = 0
        self.is_current = True
        self.found: Revocation | None = None

    def find(self, identity: Identity, /) -> Revocation | None:
        return self.found


@final
class Keys:
    """One key, as long as a test leaves it."""

    def __init__(self) -> None:
        self.generation = 1
        self.is_usable = True
        self.has_it = True

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        return kid if self.has_it else None

    async def refresh(self) -> bool:
        raise AssertionError("nothing here waits")


@final
class Asked:
    """An issuer that is asked about nothing: nobody is proven anew here."""

    async def ask(self, token: bytes, digest: bytes, address: str, /) -> Introspected:
        raise AssertionError(token)

    def believed(self, address: str, /) -> None:
        raise AssertionError(address)


@final
class Own:
    """One gateway key, as long as a test leaves it."""

    def __init__(self) -> None:
        self.generation = 1
        self.known = GatewayKey("k", "ada", frozenset(), bytes(32), ADA.issued, WALL + 1000)
        self.key: GatewayKey | None = self.known

    def find(self, id: str, /) -> GatewayKey | None:
        return self.key

    def blind(self, token: bytes, /) -> bytes:
        raise AssertionError(token)


@final
class Cut:
    """A reply that can be cut, and nothing else."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []

    def cut(self, refusal: Refusal, /) -> None:
        self.refusals.append(refusal)


@final
class World:
    """A gateway between doubles with running exchanges, and its vigil."""

    def __init__(self) -> None:
        self.line = Line()
        self.held = Held()
        self.keys = Keys()
        self.own = Own()
        self.domain = Keys()
        self.rules = [RoleRule("reader", groups=frozenset({"readers"}))]
        self.opaque: list[OpaqueIssuer] = []
        self.issuers = [Issuer("https://idp", self.keys, "aud", frozenset({"ES256"}))]
        self.gateway = self.line.gateway
        self.swap()
        self.vigil = Vigil(self.gateway)

    def swap(self, **route: Any) -> None:
        """Give the gateway a new runtime, with changes of the route; or with these `routes`, without it."""
        routes = route.pop("routes", None)
        if routes is None:
            routes = [replace(self.line.route, **route)]
        identification = Identification(
            self.issuers,
            opaque=self.opaque,
            keys=self.own,
            domains=[Domain("example.org", self.domain, "aud")],
            roles=RoleMap(self.rules),
            revocations=self.held,
            anonymous_roles=frozenset({"x"}),
        )
        runtime = replace(self.line.runtime(), identification=identification, routes=RouteTable(routes))
        self.gateway.runtime = runtime

    def run(self, identity: Identity | None = ADA, *, stage: str = "relay") -> Cut:
        """Add an exchange that waits in a stage."""
        cut = Cut()
        ex = Exchange("id", self.line.peer, self.line.call(), WALL, self.line.clock.tick())
        ex.identity = identity
        if stage != "identify":
            ex.route = self.line.route
        if stage == "relay":
            ex.prompt, ex.risk = Prompt("tiny"), NO_RISK
            ex.permit = object()  # type: ignore[assignment]  # that there is one is all that counts
        self.gateway.running[cut] = ex  # type: ignore[index]  # as far as the vigil looks
        return cut

    def sweep(self) -> None:
        """Look at everything that is due."""
        while self.vigil.sweep().step(1.0):
            raise AssertionError("a second is long")

    def end(self, cut: Cut) -> None:
        """An exchange ends."""
        reply: Reply = cut  # type: ignore[assignment]  # as above
        del self.gateway.running[reply]


@pytest.fixture
def world() -> World:
    """A gateway."""
    return World()


def reasons(cut: Cut) -> list[str]:
    """Why an exchange was ended, as often as it was."""
    return [refusal.reason.value for refusal in cut.refusals]


@pytest.mark.parametrize("stage", ["limit", "relay"])
def test_what_is_as_it_was_goes_on(world: World, stage: str) -> None:
    """Neither an urgent look nor a sweep ends it; somebody who is not known yet is nobody's business."""
    cut, unknown = world.run(stage=stage), world.run(None, stage="identify")
    world.sweep()
    assert not world.vigil.urgent().step(1.0)

    assert [] == cut.refusals == unknown.refusals
    assert 0 == sum(world.vigil.cuts.values())


@pytest.mark.parametrize("stage", ["limit", "relay"])
@pytest.mark.parametrize("is_urgent", [True, False])
def test_the_revoked_end(world: World, stage: str, *, is_urgent: bool) -> None:
    """Wherever they wait, with the revocation's id for the record, whatever the route lets finish."""
    world.swap(continuous=Continuous(ends_at_expiry=False, ends_by_policy=False))
    cut = world.run(stage=stage)
    world.held.found = Revocation("r-1", Target.SUBJECT, ADA.key, WALL, reason="stolen")
    if is_urgent:
        world.vigil.urgent().step(1.0)
    else:
        world.sweep()

    assert [(Reason.REVOKED, "revocation r-1 of subject: stolen")] == [
        (refusal.reason, refusal.note) for refusal in cut.refusals
    ]
    assert 1 == world.vigil.cuts["revoked"]


def test_nobody_is_believed_while_revocations_are_stale(world: World) -> None:
    """What runs ends at the same bound at which new requests are refused."""
    cut = world.run()
    world.held.is_current = False
    world.vigil.urgent().step(1.0)

    assert ["revocations-stale"] == reasons(cut)
    assert 1 == world.vigil.cuts["stale"]


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (ADA, "token-expired"),
        (replace(ADA, token=None, methods=("mtls",)), "certificate-expired"),
        (replace(ADA, token=None, key_id="k", methods=("key",)), "key-expired"),
    ],
)
def test_expiry_ends_or_finishes(world: World, identity: Identity, reason: str) -> None:
    """As the route says; not a moment too early."""
    cut = world.run(identity)
    world.line.clock.now = WALL + 99.9
    world.sweep()
    assert [] == cut.refusals
    world.line.clock.now = WALL + 100
    world.line.clock.ticks += 1
    world.sweep()
    assert [reason] == reasons(cut)
    assert 1 == world.vigil.cuts["expired"]
    world.end(cut)
    world.swap(continuous=Continuous(ends_at_expiry=False))
    finishing = world.run(identity)
    world.sweep()

    assert [] == finishing.refusals


def test_a_key_that_is_gone_ends_at_once(world: World) -> None:
    """With the next look after the change, whether or not the route is due."""
    cut = world.run()
    world.sweep()
    world.keys.has_it = False
    world.sweep()
    assert [] == cut.refusals
    world.keys.generation += 1
    world.sweep()

    assert ["token-key-unknown"] == reasons(cut)
    assert 1 == world.vigil.cuts["keys"]


def test_a_trust_domain_s_key_that_is_gone_ends_at_once(world: World) -> None:
    """A workload with a JWT-SVID goes on as long as its domain has the key, and no longer."""
    workload = "spiffe://example.org/batch"
    cut = world.run(replace(ADA, key=workload, issuer="spiffe://example.org", spiffe_id=workload))
    world.sweep()
    assert [] == cut.refusals
    world.domain.has_it = False
    world.domain.generation += 1
    world.sweep()

    assert ["token-key-unknown"] == reasons(cut)


def test_an_opaque_token_ends_with_its_issuer(world: World) -> None:
    """It goes on while its issuer would be asked about it, and no longer."""
    opaque = OpaqueIssuer(world.issuers[0], Asked())
    world.opaque = [opaque]
    world.swap()
    cut = world.run(replace(ADA, methods=("mtls", "opaque"), signing_key=None))
    world.sweep()
    assert [] == cut.refusals
    world.opaque = []
    world.swap()
    world.sweep()

    assert ["token-issuer-unknown"] == reasons(cut)
    assert 1 == world.vigil.cuts["keys"]


def test_a_gateway_key_that_is_gone_ends_at_once(world: World) -> None:
    """With the next look after its file has changed."""
    cut = world.run(replace(ADA, token=None, key_id="k", methods=("key",)))
    world.sweep()
    world.own.key = None
    world.own.generation += 1
    world.sweep()

    assert ["key-unknown"] == reasons(cut)
    assert 1 == world.vigil.cuts["keys"]


@pytest.mark.parametrize(
    ("key", "reason"),
    [({"scopes": frozenset()}, "scope-missing"), ({"certificates": frozenset({"other"})}, "key-binding")],
)
def test_a_gateway_key_that_may_less_ends(world: World, key: dict[str, Any], reason: str) -> None:
    """Its scopes and its binding are those of its file, not those of when the answer began."""
    scopes = frozenset({"models:chat"})
    required = replace(world.line.route.require, token=False, key=True, scopes=scopes)
    world.own.key = replace(world.own.known, scopes=scopes)
    world.swap(require=required)
    world.sweep()
    world.line.clock.ticks += 1  # identified under this configuration: it is the file that changes
    cut = world.run(replace(ADA, token=None, key_id="k", methods=("key", "mtls"), scopes=scopes))
    world.sweep()
    assert [] == cut.refusals
    world.own.key = replace(world.own.key, **key)
    world.own.generation += 1
    world.sweep()

    assert [reason] == reasons(cut)


@pytest.mark.parametrize("where", ["early", "late"])
def test_rules_of_now_decide(world: World, where: str) -> None:
    """Hours end, an attribute changes: what would be refused now ends; unless the route lets it finish."""
    cut = world.run()
    setattr(world.line.policy, where, DENIED)
    world.sweep()
    assert [DENIED] == cut.refusals
    assert 1 == world.vigil.cuts["policy"]
    world.end(cut)
    world.swap(continuous=Continuous(ends_by_policy=False))
    finishing = world.run()
    world.sweep()

    assert [] == finishing.refusals


def test_before_the_body_only_the_head_is_judged(world: World) -> None:
    """Nothing was decided about a body that is still arriving."""
    cut = world.run(stage="limit")
    world.line.policy.late = DENIED
    world.sweep()

    assert [] == cut.refusals


def test_a_tightened_route_counts_at_once(world: World) -> None:
    """A new runtime is looked at with the next sweep: its requirements, its rules, whether it has the route."""
    cut = world.run(replace(ADA, certificate=None))
    world.sweep()
    world.swap()
    world.sweep()
    gone = world.run()
    world.swap(routes=[])
    world.sweep()

    assert ["certificate-required", "route-unknown"] == [*reasons(cut)[:1], *reasons(gone)]


def test_who_was_identified_while_the_route_went_is_looked_at(world: World) -> None:
    """The look at a new configuration passed over somebody who waited for an issuer's keys under the old one."""
    cut = world.run(None, stage="limit")
    world.line.clock.ticks += 1
    world.swap(routes=[replace(world.line.route, name="another")])
    world.sweep()
    [(_, ex)] = world.gateway.running.items()
    ex.identity = ADA
    world.line.clock.ticks += 1
    world.sweep()

    assert ["route-unknown"] == reasons(cut)


def test_roles_are_those_of_the_new_configuration(world: World) -> None:
    """Somebody whose role was taken away is judged without it; who came afterwards, as identified."""
    seen: list[frozenset[str]] = []
    world.line.policy.enter = (  # type: ignore[method-assign]  # of a double
        lambda identity, call, now, /: seen.append(identity.roles)
    )
    world.run()
    world.sweep()
    world.rules = [RoleRule("reader", groups=frozenset({"others"}))]
    world.swap()
    world.sweep()
    world.run()
    world.line.clock.ticks += 1
    world.sweep()

    assert [{"reader"}, set(), set(), {"reader"}] == seen


def test_a_claim_that_no_longer_fits_ends_it(world: World) -> None:
    """What identify would refuse now is refused now."""
    cut = world.run(replace(ADA, claims={"groups": "readers"}))
    world.swap()
    world.sweep()

    assert ["token-claim-invalid"] == reasons(cut)


def test_a_bug_of_ours_ends_it(world: World) -> None:
    """What cannot be judged does not go on; its class is on the record."""
    cut, other = world.run(), world.run(stage="limit")
    world.line.policy.fails = RuntimeError("secret")
    world.sweep()
    [ex, _] = world.gateway.running.values()

    assert (["internal"], "RuntimeError", []) == (reasons(cut), ex.fault, other.refusals)
    assert 1 == world.vigil.cuts["fault"]


def test_each_route_has_its_own_time(world: World) -> None:
    """What is not due is not looked at, and costs nothing."""
    world.swap(continuous=Continuous(every=10.0))
    cut = world.run()
    world.sweep()
    world.line.policy.late = DENIED
    world.line.clock.ticks += 9
    world.sweep()
    assert [] == cut.refusals
    world.line.clock.ticks += 1.1
    world.sweep()

    assert [DENIED] == cut.refusals


def test_what_has_no_route_yet_is_asked_for_its_identity_alone(world: World) -> None:
    """Between two stages that do not wait nothing is decided."""
    cut = world.run(stage="identify")
    world.line.policy.early = DENIED
    world.sweep()

    assert [] == cut.refusals


def test_a_round_is_taken_in_steps(world: World) -> None:
    """Out of time, it goes on where it stopped; what has ended meanwhile is left alone."""
    cuts = [world.run() for _ in range(50)]
    world.held.is_current = False
    looking = world.vigil.urgent()
    is_more = looking.step(0.0)
    done = sum(len(cut.refusals) for cut in cuts)
    world.end(cuts[-1])
    while looking.step(0.0):
        pass

    assert is_more
    assert 0 < done < 49
    assert [1] * 49 + [0] == [len(cut.refusals) for cut in cuts]


def test_a_record_without_a_call_is_left_alone(world: World) -> None:
    """Bytes that were no request have no line that could be ended."""
    cut = world.run()
    next(iter(world.gateway.running.values())).call = None
    world.line.policy.early = DENIED
    world.sweep()

    assert [] == cut.refusals
