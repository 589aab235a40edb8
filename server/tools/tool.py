"""What a tool is to a turn, whatever does its work.

A `Tool` is one thing a client lets the AI do. A `Call` is one use of it, with arguments that were checked and, where
they name the visitor, filled by the server. An `Outcome` is how it went: what the model reads, what is recorded.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from server.net.egress import Response

Effect = Literal["read_only", "idempotent", "unsafe"]
# What the visitor must have proven: nothing, to hold the session's token, to be a person the client's backend vouches
# for. Each includes the ones before it.
Proof = Literal["none", "session", "verified"]
# What of a verified visitor may fill an argument.
VisitorField = Literal["visitor.id", "visitor.email", "visitor.name"]

# Bytes of a result that a model reads: about 4,000 tokens. The record has it whole.
MODEL_BYTES = 16 * 1024


class Person(msgspec.Struct, frozen=True):
    """A visitor whom the client's backend vouched for. `id` is the client's own name for the person."""

    id: str
    email: str | None = None
    name: str | None = None


class Caller(msgspec.Struct, frozen=True):
    """On whose behalf a call is made. Filled by the server; no model and no visitor can touch it."""

    client_id: int
    client_key: str
    client_name: str
    conversation_id: str
    turn_id: str
    turn_row: int
    locale: str
    channel: str
    visitor: Person | None


class Call(msgspec.Struct, frozen=True):
    """One use of a tool. `key` is `turn_id:no`: the same for every try of the same step, so an effect happens once."""

    key: str
    tool: str
    arguments: dict[str, Any]
    caller: Caller
    # Seconds left for all of it, retries and waiting for a callback included.
    budget_s: float
    # A try after a crash counts on.
    attempt: int = 1


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended.

    `content` is what the model reads (at most MODEL_BYTES of UTF-8; JSON where the tool spoke JSON), `response` what
    is recorded whole (anything JSON can say), `error` what went wrong, for the record and the operator. `in_doubt`:
    the effect may or may not have happened.
    """

    ok: bool
    content: str
    response: Any = None
    error: str | None = None
    in_doubt: bool = False


class Webhook(msgspec.Struct, frozen=True):
    """A tool that an n8n webhook does. `signing_secret` is ciphertext."""

    url: str
    timeout_ms: int
    signing_secret: bytes | None
    config: dict[str, Any]


class Endpoint(msgspec.Struct, frozen=True):
    """A tool that looks something up in the client's own systems. `connection_config` is ciphertext."""

    endpoint_id: int
    integration_id: int
    integration_type: str
    connection_config: bytes
    url: str
    method: str
    response_path: str | None
    cache_ttl: int


class RecordedCall(msgspec.Struct, frozen=True):
    """A call that was made once: with these arguments the model read this."""

    tool: str
    arguments: dict[str, Any]
    content: str
    ok: bool


class Recorded(msgspec.Struct, frozen=True):
    """A tool of a test: what is on record is answered, and nothing goes out. `calls` are the tool's own, in the order
    in which they are to be answered; `served` are the places of those that were."""

    calls: tuple[RecordedCall, ...]
    served: set[int] = msgspec.field(default_factory=set)


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a client lets the AI do. `parameters` is JSON Schema, bound arguments included."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect
    proof: Proof
    confirm: bool
    # Argument name to what of the verified visitor fills it.
    bound: dict[str, VisitorField]
    # For people, by language: {"en": "Looking up your order"}.
    label: dict[str, str]
    source: Webhook | Endpoint | Recorded


class Sender(Protocol):
    """Sends one request to an address that a person configured: `Egress`, or who watches it. Raises EgressError."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = ...,
        body: bytes | None = ...,
        timeout_s: float,
        max_bytes: int = ...,
    ) -> Response: ...


class Executor(Protocol):
    """Does the work of one kind of source. Never raises for what the other side does: that is an Outcome."""

    async def run(self, tool: Tool, call: Call) -> Outcome: ...
