"""Constraints: each that we explain exists, and each that a caller can break is explained."""

import psycopg

from server.repositories import faults

# Broken by nobody but a bug of ours: random ids that meet twice, states that only our own code writes.
_BUGS = {
    "conversations_public_id_key",
    "conversations_session_token_hash_key",
    "messages_public_id_key",
    "messages_role_check",
    "turns_public_id_key",
    "turns_status_check",
    "turns_running_check",
    "turn_steps_kind_check",
    "turn_steps_state_check",
    "turn_steps_no_check",
    "events_seq_check",
    "knowledge_chunks_document_id_position_key",
    "operator_sessions_token_hash_key",
    "operator_tickets_secret_hash_key",
    "operator_tickets_kind_check",
    "operator_tickets_session_check",
    "plans_monthly_messages_check",
    "plans_requests_per_minute_check",
    "plans_price_check",
    "plans_name_key",
    "tool_executions_approval_check",
    "console_drafts_conversation_id_key",
    "console_drafts_session_id_key",
    "test_runs_status_check",
    "test_results_status_check",
}
# Their conflict is what `on conflict` handles.
_UPSERTS = {
    "visitors_client_id_external_id_key",
    "client_tools_client_id_tool_id_key",
    "sign_in_attempts_subject_key",
    "instances_instance_key",
    "script_sightings_client_id_origin_key",
    "api_usage_client_id_date_key",
    "console_usage_client_id_date_key",
    "model_prices_provider_model_valid_from_key",
}


def _constraints(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as conn:
        # Checks, keys and unique indexes of our tables; primary keys are made by the database itself.
        rows = conn.execute(
            """
            select conname from pg_constraint c join pg_class t on t.oid = c.conrelid
            where c.connamespace = 'public'::regnamespace and t.relname !~ 'yoyo'
              and (c.contype in ('u', 'f', 'c') or conname = 'events_pkey')
            union
            select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid
            where x.indisunique and not x.indisprimary and i.relnamespace = 'public'::regnamespace
              and i.relname !~ 'yoyo'
            """
        ).fetchall()
    return {name for (name,) in rows}


def test_every_constraint_is_explained(database_url: str) -> None:
    """A new constraint wants a sentence for people, or a reason why nobody can break it."""
    # Unique (client_id, id) exists for foreign keys to point at and cannot be broken.
    there = {name for name in _constraints(database_url) if not name.endswith("_client_id_id_key")}
    assert there == set(faults.CONSTRAINTS) | _BUGS | _UPSERTS


def test_explanations_are_errors_of_ours() -> None:
    """Each has a code and a sentence that ends."""
    for explain in faults.CONSTRAINTS.values():
        error = explain()
        assert error.code and error.message.endswith(".")
