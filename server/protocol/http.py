"""Bodies of the public HTTP API. `api/openapi` is generated from these."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from server.protocol.base import Cid, Id, Key, Locale, Wire
from server.protocol.client_config import WidgetConfig
from server.protocol.parts import Citation, Limits, Message, Owner, TokenUsage


class ErrorDetail(Wire, frozen=True):
    """`field` names what was wrong; `retry_after_ms` says when the same request may work."""

    code: str
    message: str
    request_id: str
    field: str | None = None
    retry_after_ms: int | None = None


class ErrorBody(Wire, frozen=True):
    error: ErrorDetail


class SessionCreate(Wire, frozen=True):
    """`key` is the public key `pk_...`; `identity` is a JWT with which the client's backend vouches for the visitor."""

    key: Key
    locale: Locale | None = None
    identity: Annotated[str, msgspec.Meta(max_length=8192)] | None = None


class SessionCreated(Wire, frozen=True):
    """The token is shown here only, and proves the session is the caller's own."""

    session_id: str
    session_token: str
    conversation_id: str
    epoch: str


class ChatRequest(Wire, frozen=True):
    """A one-shot message: 1 to 5,000 characters after trimming. `cid` makes a retry safe."""

    message: str
    session_id: Id | None = None
    cid: Cid | None = None
    user_identifier: Annotated[str, msgspec.Meta(min_length=1, max_length=320)] | None = None
    locale: Locale | None = None
    metadata: Annotated[dict[str, Any], msgspec.Meta(max_length=50)] | None = None


class Confirmation(Wire, frozen=True):
    """A yes or no to the call of a tool that asks first; `call_id` is that of its `tool.confirm_request`."""

    call_id: Id
    approved: bool


class ToolCallSummary(Wire, frozen=True):
    name: str
    ok: bool
    ms: int


class ChatFailure(Wire, frozen=True):
    code: str
    retryable: bool


class ChatReply(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. `reply` is null while a human owns the conversation.

    `cost` is US dollars as a decimal number in a string. When the model failed, `reply` is a kind
    sentence and `failed` says so.
    """

    session_id: str
    conversation_id: str
    message_id: str
    reply: str | None
    citations: list[Citation]
    tool_calls: list[ToolCallSummary]
    usage: TokenUsage
    cost: Decimal
    model: str | None
    cached: bool
    owner: Owner
    session_token: str | None = None
    failed: ChatFailure | None = None


class History(Wire, frozen=True):
    """Messages in order, oldest first. `before` fetches the page before this one; absent at the start."""

    messages: list[Message]
    before: str | None = None


class Config(Wire, frozen=True):
    """What a widget needs to know before its first conversation.

    `strings` are the widget's words in the language of `locale`; absent where that is English, which it has itself,
    or one it has no words in.
    """

    name: str
    locale: str
    widget: WidgetConfig
    limits: Limits
    branding: bool = True
    strings: dict[str, str] | None = None


class Health(Wire, frozen=True, omit_defaults=False):
    status: Literal["ok"] = msgspec.field(default="ok")


class ReadinessCheck(Wire, frozen=True):
    ok: bool
    detail: str | None = None


class Readiness(Wire, frozen=True):
    """Whether this instance should get traffic, and which dependency says no."""

    ready: bool
    checks: dict[str, ReadinessCheck]
