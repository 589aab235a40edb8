"""What Postgres refuses, in our own words: the one place where psycopg's errors become the error tree.

A constraint is named in its migration and explained here; one that callers cannot cause by themselves is left out,
and surfaces as psycopg raised it, as a bug should.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from server import errors


class TurnRunning(errors.FrontdeskError):
    """The conversation has a running turn already. Internal: the caller queues instead."""

    code = "turn_running"
    temporary = True


def _conflict(code: str, message: str, field: str | None = None) -> Callable[[], errors.FrontdeskError]:
    return lambda: errors.Conflict(message, code=code, field=field)


def _invalid(field: str, message: str) -> Callable[[], errors.FrontdeskError]:
    return lambda: errors.Invalid(message, field=field)


def _missing(what: str) -> Callable[[], errors.FrontdeskError]:
    # Not there and not yours are the same answer.
    return lambda: errors.NotFound(f"There is no such {what}.")


_one_of = "{} must be one of: {}.".format

CONSTRAINTS: dict[str, Callable[[], errors.FrontdeskError]] = {
    # The core.
    "messages_conversation_id_cid_key": _conflict("cid_reused", "This cid was used for another message.", "cid"),
    "turns_one_running": lambda: TurnRunning("Another turn of this conversation is running."),
    "conversations_client_id_session_id_key": _conflict("session_exists", "This session has a conversation already."),
    "conversations_client_id_fkey": _missing("client"),
    "conversations_visitor_fkey": _missing("visitor"),
    "conversations_owner_operator_id_fkey": _missing("operator"),
    "messages_conversation_fkey": _missing("conversation"),
    "messages_turn_fkey": _missing("turn"),
    "messages_author_operator_id_fkey": _missing("operator"),
    "turns_conversation_fkey": _missing("conversation"),
    "turns_message_fkey": _missing("message"),
    "turn_steps_turn_fkey": _missing("turn"),
    "turn_steps_turn_id_no_key": _conflict("step_exists", "This step of the turn is recorded already."),
    "events_conversation_fkey": _missing("conversation"),
    "events_turn_fkey": _missing("turn"),
    "events_pkey": _conflict("seq_taken", "This event number is taken."),
    "messages_rating_check": _invalid("rating", _one_of("rating", "up, down")),
    "conversations_rating_check": _invalid("rating", _one_of("rating", "up, down")),
    "whispers_conversation_fkey": _missing("conversation"),
    "whispers_turn_fkey": _missing("turn"),
    "whispers_operator_id_fkey": _missing("operator"),
    "notes_conversation_fkey": _missing("conversation"),
    "notes_operator_id_fkey": _missing("operator"),
    "whispers_conversation_id_no_key": _conflict("whisper_exists", "This whisper is recorded already."),
    "conversations_channel_check": _invalid("channel", _one_of("channel", "widget, api, console")),
    "conversations_owner_check": _invalid("owner", _one_of("owner", "ai, queued, human, closed")),
    # The console's own chats.
    "console_drafts_conversation_fkey": _missing("conversation"),
    "console_usage_client_id_fkey": _missing("client"),
    "model_traffic_turn_fkey": _missing("turn"),
    "test_cases_client_id_fkey": _missing("client"),
    "test_cases_conversation_fkey": _missing("conversation"),
    "test_runs_client_id_fkey": _missing("client"),
    "test_runs_operator_id_fkey": _missing("operator"),
    "test_runs_one_running": _conflict("run_active", "A run of this client's cases is under way; wait for its end."),
    "test_results_run_fkey": _missing("run"),
    "test_results_case_fkey": _missing("case"),
    # Clients and the people who serve them.
    "clients_name_check": _invalid("name", "name may not be empty."),
    "clients_public_key_key": _conflict("public_key_taken", "This public key is taken.", "public_key"),
    "clients_api_key_hash_key": _conflict("api_key_taken", "This API key is taken.", "api_key"),
    "clients_plan_type_fkey": _invalid("plan_type", "There is no such plan."),
    "clients_status_check": _invalid("status", _one_of("status", "active, suspended")),
    "api_usage_client_id_fkey": _missing("client"),
    "script_sightings_client_id_fkey": _missing("client"),
    "visitors_client_id_fkey": _missing("client"),
    "operators_email_key": _conflict("email_taken", "An operator with this e-mail address exists.", "email"),
    "operators_role_check": _invalid("role", _one_of("role", "owner, admin, operator")),
    "operators_status_check": _invalid("status", _one_of("status", "active, disabled")),
    "operators_client_check": _invalid("client_id", "An owner belongs to no client, an operator to one."),
    "operators_client_id_fkey": _missing("client"),
    "operator_sessions_operator_id_fkey": _missing("operator"),
    "operator_tickets_operator_id_fkey": _missing("operator"),
    "operator_tickets_session_id_fkey": _missing("session"),
    "audit_log_client_id_fkey": _missing("client"),
    "audit_log_operator_id_fkey": _missing("operator"),
    "notifications_client_id_fkey": _missing("client"),
    "notifications_conversation_fkey": _missing("conversation"),
    "notifications_kind_check": _invalid("kind", "There is no such kind of notification."),
    # Tools, live data, knowledge.
    "tools_tool_name_key": _conflict("tool_exists", "A tool of this name exists.", "tool_name"),
    "tools_tool_name_check": _invalid("tool_name", "tool_name takes 1 to 64 letters, digits, _ and -."),
    "tools_effect_check": _invalid("effect", _one_of("effect", "read_only, idempotent, unsafe")),
    "tools_proof_check": _invalid("proof", _one_of("proof", "none, session, verified")),
    "client_tools_proof_check": _invalid("proof", _one_of("proof", "none, session, verified")),
    "client_tools_client_id_fkey": _missing("client"),
    "client_tools_tool_id_fkey": _missing("tool"),
    "client_tools_timeout_ms_check": _invalid("timeout_ms", "timeout_ms must be between 100 and 120,000."),
    "client_integrations_client_id_fkey": _missing("client"),
    "client_integrations_integration_type_check": _invalid(
        "integration_type",
        _one_of("integration_type", "shopify, woocommerce, custom_api, mysql_database, postgres_database"),
    ),
    "integration_endpoints_integration_fkey": _missing("integration"),
    "integration_endpoints_client_id_endpoint_name_key": _conflict(
        "endpoint_exists", "An endpoint of this name exists.", "endpoint_name"
    ),
    "integration_endpoints_endpoint_name_check": _invalid(
        "endpoint_name", "endpoint_name takes 1 to 64 letters, digits, _ and -."
    ),
    "integration_endpoints_method_check": _invalid("method", _one_of("method", "GET, POST, PUT, PATCH, DELETE, SQL")),
    "integration_endpoints_cache_ttl_check": _invalid("cache_ttl", "cache_ttl must be between 0 and 86,400 seconds."),
    "integration_endpoints_effect_check": _invalid("effect", _one_of("effect", "read_only, idempotent, unsafe")),
    "integration_endpoints_proof_check": _invalid("proof", _one_of("proof", "none, session, verified")),
    "tool_executions_turn_id_call_id_key": _conflict("call_exists", "This tool call is recorded already.", "call_id"),
    "tool_executions_conversation_fkey": _missing("conversation"),
    "tool_executions_turn_fkey": _missing("turn"),
    "knowledge_documents_client_id_fkey": _missing("client"),
    "knowledge_documents_client_id_content_hash_key": _conflict("document_exists", "This document is there already."),
    "knowledge_documents_source_type_check": _invalid("source_type", _one_of("source_type", "text, file, url, faq")),
    "knowledge_documents_status_check": _invalid("status", _one_of("status", "pending, ready, failed")),
    "knowledge_chunks_document_fkey": _missing("document"),
    "model_prices_check": _invalid("price", "A price may not be negative."),
}


def _translate(error: Exception) -> Exception:
    match error:
        case psycopg.IntegrityError() if error.diag.constraint_name in CONSTRAINTS:
            return CONSTRAINTS[error.diag.constraint_name]()
        case psycopg.errors.NotNullViolation() if error.diag.column_name == "message_id":
            # turns.create looks its message up by public id and client.
            return errors.NotFound("There is no such message.")
        case psycopg.errors.UntranslatableCharacter():
            return errors.Invalid("Text may not contain the character U+0000.")
        case psycopg.DataError() if error.sqlstate is None and "NUL" in str(error):
            return errors.Invalid("Text may not contain the character U+0000.")
        case PoolTimeout() | TooManyRequests():
            return errors.Unavailable("postgres", "The database has no connection free.")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return errors.Unavailable("postgres", "The database cannot be reached.")
        case _:
            return error


@contextmanager
def translated() -> Iterator[None]:
    """Within, an error of psycopg leaves as one of ours; what it was stays its cause, for the log."""
    try:
        yield
    except psycopg.Error as error:
        ours = _translate(error)
        if ours is error:
            raise
        raise ours from error
