"""Names of the pub/sub channels."""

# Revocations, config changes and stops, heard by every instance.
CONTROL = "control"


_CONVERSATION = "c:"


def conversation(conversation_id: str) -> str:
    """Frames of one conversation; `conversation_id` is the public id."""
    return f"{_CONVERSATION}{conversation_id}"


def conversation_of(channel: str) -> str | None:
    """The public id of the conversation whose frames these are; None of another channel."""
    return channel.removeprefix(_CONVERSATION) if channel.startswith(_CONVERSATION) else None
