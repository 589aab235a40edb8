"""What a message is made of."""

from datetime import datetime
from typing import Literal

from server.protocol.base import Natural, Wire

Role = Literal["user", "assistant", "operator", "system"]
Owner = Literal["ai", "queued", "human", "closed"]
Rating = Literal["up", "down"]


class Person(Wire, frozen=True):
    """An operator as a visitor sees one."""

    name: str
    avatar_url: str | None = None


class Citation(Wire, frozen=True):
    """Where an answer's statement comes from. `n` is the mark in the text, [1], [2] ..."""

    n: int
    title: str
    url: str | None = None


class TokenUsage(Wire, frozen=True):
    input_tokens: Natural
    output_tokens: Natural


class Message(Wire, frozen=True):
    """One message as a visitor may see it. `text` is hostile until rendered as text nodes."""

    id: str
    role: Role
    text: str
    created_at: datetime
    cid: str | None = None
    author: Person | None = None
    turn_id: str | None = None
    citations: list[Citation] = []
    usage: TokenUsage | None = None
    model: str | None = None
    cached: bool = False
    # The visitor stopped this answer; `text` is what had been said.
    stopped: bool = False
    rating: Rating | None = None


class ToolState(Wire, frozen=True):
    """A tool step of a running answer."""

    call_id: str
    label: str
    state: Literal["running", "done", "failed", "confirm"]
    text: str | None = None


class LiveAnswer(Wire, frozen=True):
    """The running answer: everything up to delta `n` of `gen`."""

    turn_id: str
    message_id: str
    gen: int
    n: Natural
    text: str
    tools: list[ToolState] = []


class Limits(Wire, frozen=True):
    """Bounds a widget keeps, so that it can say so before the server does."""

    message_characters: int
    frame_bytes: int
