"""Names of the pub/sub channels."""

# Revocations, config changes and stops, heard by every instance.
CONTROL = "control"


def conversation(conversation_id: str) -> str:
    """Frames of one conversation; `conversation_id` is the public id."""
    return f"c:{conversation_id}"
