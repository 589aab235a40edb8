"""What operators do to a conversation: the same functions, limits and answers as over the console's socket."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from server.admin.conversations import colleague, told
from server.admin.gate import Caller, guarded
from server.protocol.admin.conversations import (
    ConversationHead,
    OperatorReplied,
    OperatorReply,
    OperatorWhisper,
    ToolApproval,
    TurnStop,
    TurnStopResult,
    WhisperInfo,
)
from server.repositories.conversations import Conversation
from server.repositories.operators import Operator
from server.services import Services
from server.staff import find_conversation
from server.turns.handover import limit_of
from server.web.responses import body, json

_PRIVATE = {"cache-control": "no-store"}


async def take(request: Request, services: Services, caller: Caller) -> Response:
    return await _own(request, services, caller, services.handover.take)


async def release(request: Request, services: Services, caller: Caller) -> Response:
    return await _own(request, services, caller, services.handover.release)


async def close(request: Request, services: Services, caller: Caller) -> Response:
    return await _own(request, services, caller, services.handover.close)


async def reply(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await _counted(request, services, caller)
    given = await body(request, OperatorReply)
    said = await services.handover.reply(caller.operator, conversation, cid=given.cid, text=given.text)
    replied = OperatorReplied(message_id=said.message_id, seq=said.seq, duplicate=said.duplicate)
    return json(replied, headers=_PRIVATE)


async def whisper(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await _counted(request, services, caller)
    given = await body(request, OperatorWhisper)
    row = await services.handover.whisper(caller.operator, conversation, text=given.text)
    whispered = WhisperInfo(
        no=row.no,
        text=row.content,
        created_at=row.created_at,
        operator=colleague(row.operator_id, row.operator_name, row.operator_avatar_url),
    )
    return json(whispered, status=201, headers=_PRIVATE)


async def stop(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await _counted(request, services, caller)
    given = await body(request, TurnStop)
    stopped = await services.handover.stop(caller.operator, conversation, turn_id=given.turn_id)
    return json(TurnStopResult(stopped=stopped), headers=_PRIVATE)


async def approve(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await _counted(request, services, caller)
    given = await body(request, ToolApproval)
    await services.handover.approve(caller.operator, conversation, call_id=given.call_id, approved=given.approved)
    return Response(status_code=204, headers=_PRIVATE)


async def _own(
    request: Request,
    services: Services,
    caller: Caller,
    change: Callable[[Operator, Conversation], Awaitable[None]],
) -> Response:
    conversation = await _counted(request, services, caller)
    await change(caller.operator, conversation)
    return await told(services, client_id=conversation.client_id, conversation_id=conversation.id)


async def _counted(request: Request, services: Services, caller: Caller) -> Conversation:
    """The conversation, and one command of this operator's minute. Raises RateLimited, NotFound."""
    await services.limiter.check(limit_of(caller.operator))
    return await find_conversation(services.pool, caller.operator, request.path_params["conversation_id"])


_BASE = "/conversations/{conversation_id}"

ENDPOINTS = (
    guarded(
        "POST",
        f"{_BASE}/take",
        take,
        "Take a conversation over",
        ConversationHead,
        needs="operator",
        about="From now on the operator answers; a running answer ends where it is. 409 `taken` while somebody else "
        "has it.",
        refuses=(409, 429),
    ),
    guarded(
        "POST",
        f"{_BASE}/release",
        release,
        "Give a conversation back to the AI",
        ConversationHead,
        needs="operator",
        about="The AI answers what nobody has answered. 409 `not_yours`.",
        refuses=(409, 429),
    ),
    guarded(
        "POST",
        f"{_BASE}/close",
        close,
        "Close a conversation",
        ConversationHead,
        needs="operator",
        about="It opens again when the visitor writes. 409 `not_yours`.",
        refuses=(409, 429),
    ),
    guarded(
        "POST",
        f"{_BASE}/reply",
        reply,
        "Answer the visitor",
        OperatorReplied,
        needs="operator",
        takes=OperatorReply,
        about="Only who has taken the conversation may. The same `cid` again is the same message.",
        refuses=(409, 429),
    ),
    guarded(
        "POST",
        f"{_BASE}/whisper",
        whisper,
        "Tell the AI something for its next turn",
        WhisperInfo,
        needs="operator",
        takes=OperatorWhisper,
        status=201,
        refuses=(409, 429),
    ),
    guarded(
        "POST",
        f"{_BASE}/stop",
        stop,
        "Stop a turn",
        TurnStopResult,
        needs="operator",
        takes=TurnStop,
        refuses=(429,),
    ),
    guarded(
        "POST",
        f"{_BASE}/approve",
        approve,
        "Answer a tool that asks first, in the visitor's place",
        None,
        needs="operator",
        takes=ToolApproval,
        status=204,
        refuses=(429,),
    ),
)
