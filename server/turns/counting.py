"""Where a turn's use is counted: on the client's bill, or apart from it for the chats of the console."""

from datetime import date
from decimal import Decimal

from server.repositories import console_usage, usage
from server.repositories.conversations import CONSOLE, Conversation
from server.repositories.pool import Conn


def is_console(conversation: Conversation) -> bool:
    """Whether the console chats there, and no visitor."""
    return conversation.channel == CONSOLE


async def count(
    conn: Conn,
    conversation: Conversation,
    *,
    day: date,
    conversations: int = 0,
    messages: int = 0,
    tokens_input: int = 0,
    tokens_output: int = 0,
    tool_calls: int = 0,
    cost: Decimal = Decimal(0),
) -> None:
    """Adds to the day, in the transaction of what it counts. All else first: see `usage.record`."""
    record = console_usage.record if is_console(conversation) else usage.record
    await record(
        conn,
        client_id=conversation.client_id,
        day=day,
        conversations=conversations,
        messages=messages,
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        tool_calls=tool_calls,
        cost=cost,
    )
