"""How an operator's frame is refused: a message by its cid, anything else by its type and the conversation it named."""

from server.errors import FrontdeskError, RequestError, Unavailable
from server.protocol.base import Frame
from server.protocol.operator import FromOperator, OfConversation, OperatorError, OperatorMessageSend, OperatorNack


def refusal(frame: FromOperator | None, error: FrontdeskError) -> OperatorNack | OperatorError:
    """The answer to a frame; None is one that was not understood. Only what is meant for people is told of an error."""
    message, field, retry_after_ms = "something went wrong", None, None
    if isinstance(error, RequestError):
        message, field, retry_after_ms = error.message, error.field, error.retry_after_ms
    elif isinstance(error, Unavailable):
        message, retry_after_ms = error.message, error.retry_after_ms
    if isinstance(frame, OperatorMessageSend):
        return OperatorNack(
            conversation_id=frame.conversation_id,
            cid=frame.cid,
            code=error.code,
            message=message,
            retry_after_ms=retry_after_ms,
        )
    return OperatorError(
        code=error.code,
        message=message,
        temporary=error.temporary,
        field=field,
        conversation_id=frame.conversation_id if isinstance(frame, OfConversation) else None,
        command=None if frame is None else tag(frame),
        retry_after_ms=retry_after_ms,
    )


def tag(frame: Frame) -> str:
    """A frame's `type`."""
    return str(frame.__struct_config__.tag)
