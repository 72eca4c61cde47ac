"""The life of a request, top to bottom. START READING HERE.

The order of the checks is a security property: nobody is limited before being identified, nothing is
parsed before being limited, nothing is forwarded before it is permitted and what it may use set aside.
Variation lives inside a stage, in what the configuration compiled for the route. The proofs in the
signatures (`Entry`, `Admission`, `Vetted`, `Permit`, `Reservation`) make leaving a stage out a type error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.exchange import Exchange, Outcome
from gateway.core.ports import ClientGone
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.stages.authorize import authorize, enter
from gateway.stages.forward import answer_headers, content_type, is_event_stream, prepare
from gateway.stages.identify import identify, next_nonce
from gateway.stages.inspect import inspect
from gateway.stages.limit import limit
from gateway.stages.reserve import foresee, reserve, settle, watch
from gateway.stages.score import score

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.identity import Peer
    from gateway.core.ports import Answer, Reply
    from gateway.runtime import Runtime

BUG = Refusal(Reason.INTERNAL, source=Source.GATEWAY)
NO_RECORD = Refusal(Reason.RECORD_UNAVAILABLE, source=Source.GATEWAY)


@final
class Gateway:
    """Decides every request and writes down every one."""

    __slots__ = ("running", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.running: dict[Reply, Exchange] = {}  # for who verifies again while an answer runs

    async def handle(self, call: Call, reply: Reply) -> None:  # noqa: PLR0915 - the line is one piece
        """Take one request from its head to its record. Never raises but for a vanished client."""
        rt = self.runtime  # one snapshot: a reload never splits a request
        tick = rt.clock.tick
        now = rt.clock.wall()
        ex = Exchange(call.id, call.peer, call, now, tick())
        answer = admission = reservation = None
        self.running[reply] = ex
        try:
            _require_record(rt)  # nothing happens that can not be written down
            if call.path in rt.documents and call.method in {"GET", "HEAD"}:  # where tokens come from
                ex.outcome = Outcome.SERVED
                return reply.send(200, *rt.documents[call.path])
            identity = ex.identity = await identify(call, rt.identification, now)  # who?
            ex.identified_at = tick()
            route = ex.route = rt.routes.match(call.method, call.path)  # so strangers learn nothing
            entry = enter(identity, route, call, now)  # may they knock? what the head alone can deny
            ex.entered_at = tick()
            admission = await limit(entry, rt.store, foresee(entry, call.peer.address))  # usually no I/O
            ex.ledger = admission.ledger
            ex.admitted_at = tick()
            bounds = entry.route.bounds
            body = await call.body.read(bounds.body, bounds.body_time)  # 100-continue is sent here
            ex.bytes_in = len(body)
            vetted = inspect(entry, call, body)  # what? strict, against the schema
            prompt = ex.prompt = vetted.prompt
            ex.inspected_at = tick()
            risk = ex.risk = score(entry, prompt, rt.counters)  # how unusual?
            now = rt.clock.wall()  # a body may have taken its time
            permit = ex.permit = authorize(entry, call, vetted, risk, now)  # exactly this, to this model
            reservation = await reserve(permit, admission, vetted, call.peer.address, rt.budgets)
            onward = rt.onward.find(call, permit, now) or await rt.onward.obtain(call, permit, now)
            ex.assertion = onward.name
            outbound = prepare(call, permit, vetted, onward)  # what leaves, by allow-list
            ex.forwarded_at = tick()
            answer = await rt.backends.open(outbound, permit, reservation, vetted)
            ex.answered_at = tick()
            ex.endpoint = answer.endpoint
            meter = permit.route.meter(ex.usage, content_type(answer))
            meter = watch(meter, reservation, ex, rt.budgets, reply, rt.clock)
            fields = answer_headers(answer, permit.route, call.id)
            if identity.proof_key is not None:
                fields += next_nonce(identity, rt.identification, rt.clock.wall())
            await reply.relay(answer, fields, meter, bounds)
            ex.outcome = Outcome.SERVED
        except Refused as refused:
            self._refuse(rt, ex, refused.refusal, reply, answer)
        except ClientGone:
            ex.outcome = Outcome.CLIENT_GONE
            raise
        except Exception as fault:  # noqa: BLE001 - our bug: fail closed, and never their text
            ex.fault = type(fault).__name__
            rt.problems.report(ex, fault)
            self._refuse(rt, ex, BUG, reply, answer)
        finally:  # synchronous: nothing to await means nothing to cancel
            del self.running[reply]
            if answer is not None:
                answer.close()
            if reservation is not None:
                settle(reservation, ex, answer, rt.budgets, reply.bytes_out, tick())
            if admission is not None:
                rt.store.settle(admission.ledger)
            self._record(rt, ex, reply)

    def reject(self, id: str, peer: Peer, refusal: Refusal, reply: Reply) -> None:
        """Answer and record bytes that are no request: there is nobody to identify."""
        rt = self.runtime
        ex = Exchange(id, peer, None, rt.clock.wall(), rt.clock.tick())
        self._refuse(rt, ex, refusal, reply, None)
        self._record(rt, ex, reply)

    @staticmethod
    def _refuse(rt: Runtime, ex: Exchange, refusal: Refusal, reply: Reply, answer: Answer | None) -> None:
        ex.refusal = refusal
        if reply.is_started:  # no status is left: an event stream can still say why, the rest only breaks off
            ex.outcome = Outcome.FAILED
            can_say = answer is not None and is_event_stream(content_type(answer))
            reply.abort(rt.problems.event(ex, refusal) if can_say else b"")
            return
        ex.outcome = Outcome.REFUSED
        status, headers, body, is_closing = rt.problems.render(ex, refusal)
        reply.send(status, headers, body, close=is_closing)

    @staticmethod
    def _record(rt: Runtime, ex: Exchange, reply: Reply) -> None:
        ex.status = reply.status
        ex.bytes_out = reply.bytes_out
        ex.runtime_version = rt.version
        ex.ended_at = rt.clock.tick()
        if ex.identity is not None:
            rt.counters.outcome(ex)
        rt.record(ex)


def _require_record(rt: Runtime) -> None:
    if not rt.record.is_healthy:
        raise Refused(NO_RECORD)
