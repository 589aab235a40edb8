"""Names of the pub/sub channels."""

# Revocations, config changes and stops, heard by every instance.
CONTROL = "control"


_CONVERSATION = "c:"
_OPERATORS = "o:"
_INBOX = "inbox:"


def conversation(conversation_id: str) -> str:
    """Frames of one conversation; `conversation_id` is the public id."""
    return f"{_CONVERSATION}{conversation_id}"


def conversation_of(channel: str) -> str | None:
    """The public id of the conversation whose frames these are; None of another channel."""
    return channel.removeprefix(_CONVERSATION) if channel.startswith(_CONVERSATION) else None


def operators(conversation_id: str) -> str:
    """What only operators see of one conversation: traces, whispers, who is there. Live frames, never numbered."""
    return f"{_OPERATORS}{conversation_id}"


def inbox(client_id: int | None) -> str:
    """Rows of one client's inbox as they change, or of all clients' together. Live frames, never numbered."""
    return f"{_INBOX}{'all' if client_id is None else client_id}"
