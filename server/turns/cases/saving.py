"""Saves conversations as test cases, with what their tools answered; edits and deletes cases."""

from collections.abc import Sequence
from typing import Any

import msgspec

from server.errors import Conflict, Invalid, NotFound
from server.repositories import (
    answered_turns,
    audit,
    cases,
    changes,
    conversations,
    messages,
    tool_executions,
    turn_steps,
)
from server.repositories.answered_turns import AskedTurn
from server.repositories.cases import CaseRecord
from server.repositories.conversations import Conversation
from server.repositories.messages import MessageRow
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.repositories.tool_executions import ToolExecution
from server.tools.catalogue import Catalogue
from server.tools.result import failure, recordable
from server.tools.result import reading as readable
from server.tools.tool import RecordedCall
from server.turns.cases.case import Question, Rules
from server.turns.steps import Result

# Questions of one case: each is a turn, and a run of twenty cases of them is 600 calls of a model.
QUESTIONS = 30
# Characters of a name that nobody chose.
NAME_CHARACTERS = 80


class Cases:
    """The cases of one deployment. Each change is in the audit log; `operator_id` is None for the command line."""

    def __init__(self, pool: Pool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._catalogue = catalogue

    async def save(
        self, *, operator_id: int | None, client_id: int, conversation_id: str, name: str | None, rules: Rules | None
    ) -> CaseRecord:
        """A conversation (by its public id) as a case. Without rules the tools that it called with success must be
        called. Raises NotFound, Invalid."""
        async with reading(self._pool) as conn:
            conversation = await conversations.find_by_public_id(conn, client_id=client_id, public_id=conversation_id)
            if conversation is None:
                raise NotFound("this client has no such conversation", field="conversation_id")
            questions = await _questions(conn, conversation)
        called = list(dict.fromkeys(call.tool for each in questions for call in each.calls if call.ok))
        wanted = Rules(must_call=called) if rules is None else await self._checked(client_id, rules, called)
        async with unit_of_work(self._pool) as conn:
            case_id = await cases.create(
                conn,
                client_id=client_id,
                conversation_id=conversation.id,
                name=_named(name, questions),
                locale=conversation.locale,
                verified=conversation.visitor_id is not None,
                questions=msgspec.to_builtins(questions),
                rules=msgspec.to_builtins(wanted),
            )
            await _log(conn, operator_id, client_id, case_id, "create", {"conversation": conversation_id})
            return await _found(conn, client_id, case_id)

    async def edit(
        self, *, operator_id: int | None, client_id: int, case_id: int, seen: int, name: str, rules: Rules
    ) -> CaseRecord:
        """Raises NotFound, Invalid, Conflict `changed_meanwhile` when it is not the version that was `seen`."""
        async with reading(self._pool) as conn:
            before = await _found(conn, client_id, case_id)
        questions = msgspec.convert(before.questions, list[Question])
        checked = await self._checked(
            client_id, rules, [*before.rules["must_call"], *(call.tool for each in questions for call in each.calls)]
        )
        async with unit_of_work(self._pool) as conn:
            version = await cases.update(
                conn,
                client_id=client_id,
                case_id=case_id,
                seen=seen,
                name=_named(name, questions),
                rules=msgspec.to_builtins(checked),
            )
            if version is None:
                raise await _changed(conn, client_id, case_id)
            await _log(conn, operator_id, client_id, case_id, "update", {"version": version})
            return await _found(conn, client_id, case_id)

    async def delete(self, *, operator_id: int | None, client_id: int, case_id: int) -> None:
        """With its results. Raises NotFound."""
        async with unit_of_work(self._pool) as conn:
            if not await cases.delete(conn, client_id=client_id, case_id=case_id):
                raise NotFound("there is no such case")
            await _log(conn, operator_id, client_id, case_id, "delete", {})

    async def _checked(self, client_id: int, rules: Rules, known: Sequence[str]) -> Rules:
        """Trimmed, each once. Raises Invalid for words that are none, and for a tool that nobody knows."""
        checked = Rules(
            must_call=_words(rules.must_call, "must_call"),
            must_contain=_words(rules.must_contain, "must_contain"),
            must_not_contain=_words(rules.must_not_contain, "must_not_contain"),
        )
        if missing := [tool for tool in checked.must_call if tool not in known]:
            there = await self._catalogue.names(client_id)
            if strange := [tool for tool in missing if tool not in there]:
                field = f"rules.must_call[{[each.strip() for each in rules.must_call].index(strange[0])}]"
                has = ", ".join(there) or "none"
                raise Invalid(f"`{field}`: this client has no tool {strange[0]!r}; it has: {has}", field=field)
        return checked


async def _questions(conn: Conn, conversation: Conversation) -> list[Question]:
    """What was asked and answered, oldest first. Raises Invalid."""
    where = {"client_id": conversation.client_id, "conversation_id": conversation.id}
    said = await messages.all(conn, **where)
    asked = await answered_turns.of_conversation(conn, **where)
    calls = await tool_executions.list_for_conversation(conn, **where)
    wanted = sum(message.role == "user" for message in said)
    if not 1 <= wanted <= QUESTIONS:
        raise Invalid(
            f"this conversation has {wanted} questions; a case takes 1 to {QUESTIONS}",
            code="too_long" if wanted else "empty",
            field="conversation_id",
        )
    if any(message.content is None for message in said):
        raise Invalid("the words of this conversation are not kept any more", code="removed", field="conversation_id")
    recorded: dict[int, list[RecordedCall]] = {}
    for turn in asked:
        mine = [call for call in calls if call.turn_id == turn.id]
        recorded.setdefault(turn.message_id, []).extend(await _calls(conn, conversation, turn, mine))
    return [
        Question(message.content or "", _answer(at, said, asked), recorded.get(message.id, []))
        for at, message in enumerate(said)
        if message.role == "user"
    ]


def _answer(at: int, said: Sequence[MessageRow], asked: Sequence[AskedTurn]) -> str | None:
    """What the AI answered the message at this place; else what was said before the visitor's next one, by a person or
    by nobody knows which turn."""
    turns = {turn.id for turn in asked if turn.message_id == said[at].id}
    answers = [each.content for each in said if each.role == "assistant" and each.turn_id in turns and each.content]
    if not answers:
        for each in said[at + 1 :]:
            if each.role == "user":
                break
            if (each.role == "operator" or (each.role == "assistant" and each.turn_id is None)) and each.content:
                answers.append(each.content)
    return "\n\n".join(answers) or None


async def _calls(
    conn: Conn, conversation: Conversation, turn: AskedTurn, executions: Sequence[ToolExecution]
) -> list[RecordedCall]:
    """The calls of a turn that went out, or that the visitor was asked about. What the server refused by itself, it
    refuses again."""
    if not executions:
        return []
    steps = {
        f"{turn.public_id}:{step.no}": msgspec.convert(step.result, Result)
        for step in await turn_steps.of_turn(conn, client_id=conversation.client_id, turn_id=turn.id)
        if step.kind == "tool" and step.result is not None
    }
    calls = []
    for row in executions:
        if row.attempt == 0 and row.approval is None:
            continue
        result = steps.get(row.call_id)
        if result is None:
            ok = row.success is True
            result = Result(readable(row.n8n_response) if ok else failure(row.error or "this did not work"), ok)
        calls.append(RecordedCall(row.tool_name, row.parameters, str(recordable(result.content)), result.ok))
    return calls


def _named(name: str | None, questions: Sequence[Question]) -> str:
    """Raises Invalid for a name of nothing but space."""
    if name is None:
        return " ".join(questions[0].text.split())[:NAME_CHARACTERS]
    if not name.strip():
        raise Invalid("`name` is empty", code="empty", field="name")
    return " ".join(name.split())


def _words(given: Sequence[str], name: str) -> list[str]:
    for no, each in enumerate(given):
        if not each.strip():
            raise Invalid(f"`rules.{name}[{no}]` is empty", code="empty", field=f"rules.{name}[{no}]")
    return list(dict.fromkeys(each.strip() for each in given))


async def _found(conn: Conn, client_id: int, case_id: int) -> CaseRecord:
    row = await cases.find(conn, client_id=client_id, case_id=case_id)
    if row is None:
        raise NotFound("there is no such case")
    return row


async def _changed(conn: Conn, client_id: int, case_id: int) -> Conflict | NotFound:
    if await cases.find(conn, client_id=client_id, case_id=case_id) is None:
        return NotFound("there is no such case")
    last = await changes.find_last(conn, client_id=client_id, target_type="case", target_id=str(case_id))
    return changes.changed_meanwhile("this case", last)


async def _log(
    conn: Conn, operator_id: int | None, client_id: int, case_id: int, action: str, details: dict[str, Any]
) -> None:
    await audit.record(
        conn,
        client_id=client_id,
        operator_id=operator_id,
        action=f"case.{action}",
        target_type="case",
        target_id=str(case_id),
        details=details,
    )
