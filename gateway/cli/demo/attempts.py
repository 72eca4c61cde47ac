"""The tour's requests: each tries one thing and says in one line what came back.

Sends through the official OpenAI client, as any user would; only what that client cannot say (no
certificate, a body that is no proper JSON) is sent otherwise. Judges nothing: `gateway.cli.demo.tour`
compares with what must be.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple, final

import openai

from gateway.cli.demo.model import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai.types.chat import ChatCompletionMessageParam

    from gateway.credentials.development import Issued

TIMEOUT: Final = 60.0  # seconds: a small model on a busy machine
ANSWER_TOKENS: Final = 48
HANDSHAKE: Final = "handshake refused"
LIMIT_AT_MOST: Final = 20  # requests until the limit must have answered


@final
class Came(NamedTuple):
    """What came back.

    Args:
        outcome: What is compared: a status with the public word, or `handshake refused`.
        more: What is shown beside it.
    """

    outcome: str
    more: str = ""


def context(authority: Path, owner: Issued | None) -> ssl.SSLContext:
    """Make a client context that believes one authority, and shows one certificate or none."""
    made = ssl.create_default_context(cafile=str(authority))
    if owner is not None:
        made.load_cert_chain(owner.certificate, owner.key)
    return made


def refusal(error: openai.APIStatusError) -> Came:
    """Shorten a refusal to its status and public word."""
    body = error.body if isinstance(error.body, dict) else {}
    after = error.response.headers.get("retry-after")
    more = f"Retry-After: {after} s" if after else str(body.get("message", ""))
    return Came(f"{error.status_code} {body.get('code', 'no code')}", more)


def outcome(attempt: Callable[[], object]) -> Came:
    """Try something with the client; return what came back, whatever it was."""
    try:
        answer = attempt()
    except openai.APIStatusError as error:
        return refusal(error)
    except openai.APIConnectionError as error:
        # The client hides why; a connection that was never secured is what the tour looks for.
        return Came(HANDSHAKE if is_handshake(error) else "connection lost")
    return Came("200", answer if isinstance(answer, str) else "")


def is_handshake(error: BaseException) -> bool:
    """Tell whether TLS is among the causes of an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@final
class Caller:
    """Somebody with a certificate and a token, before the gateway.

    Args:
        port: The gateway's port on the loopback address.
        authority: Certificate of the authority that the gateway's must come from.
        owner: The caller's certificate.
        token: The caller's token.
    """

    __slots__ = ("client", "token")

    def __init__(self, port: int, authority: Path, owner: Issued, token: str) -> None:
        self.token = token
        self.client = openai.OpenAI(
            base_url=f"https://localhost:{port}/v1",
            api_key=token,
            max_retries=0,
            timeout=TIMEOUT,
            http_client=openai.DefaultHttpxClient(verify=context(authority, owner), trust_env=False),
        )

    def ask(self, question: str, *, model: str = MODEL, tokens: int = ANSWER_TOKENS, **more: object) -> Came:
        """Ask one question and wait for the whole answer."""

        def attempt() -> str:
            answer = self.client.chat.completions.create(
                model=model,
                messages=messages(question),
                max_tokens=tokens,
                temperature=0,
                extra_body=more or None,
            )
            return answer.choices[0].message.content or ""

        return outcome(attempt)

    def stream(self, question: str) -> Iterator[str]:
        """Ask one question and return the answer's pieces as they come.

        Raises:
            openai.OpenAIError: The gateway refused, or the stream broke.
        """
        pieces = self.client.chat.completions.create(
            model=MODEL, messages=messages(question), max_tokens=ANSWER_TOKENS, temperature=0, stream=True
        )
        with pieces:
            for piece in pieces:
                if piece.choices:
                    yield piece.choices[0].delta.content or ""

    def post(self, body: bytes) -> Came:
        """Send bytes that the client would never make."""
        return outcome(lambda: self.client.post("/chat/completions", content=body, cast_to=object))

    def get(self, path: str) -> Came:
        """Ask for some other path."""
        return outcome(lambda: self.client.get(path, cast_to=object))

    def exhaust(self, question: str) -> Came:
        """Ask again and again until it is too much."""
        for count in range(LIMIT_AT_MOST):
            came = self.ask(question, tokens=1)
            if came.outcome != "200":
                return Came(came.outcome, f"{came.more}, after {count} answers")
        return Came("200", f"{LIMIT_AT_MOST} times")


def messages(question: str) -> list[ChatCompletionMessageParam]:
    """Make a conversation of one question."""
    return [{"role": "user", "content": question}]


def knock(port: int, tls: ssl.SSLContext) -> Came:
    """Shake hands and send a request, without HTTP on top: tell whether anybody answers.

    In TLS 1.3 a server refuses a certificate only after the client believes the handshake done, so
    what counts is whether a byte of an answer ever comes.
    """
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as plain,
            tls.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = secured.recv(64)
    except ssl.SSLError as error:
        return Came(HANDSHAKE, (error.reason or "TLS alert").lower().replace("_", " "))
    except ConnectionError:
        return Came(HANDSHAKE, "connection reset")
    return Came("answered") if answer else Came(HANDSHAKE, "connection closed")
