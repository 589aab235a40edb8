"""A client's own systems, and what the AI may look up there."""

from datetime import datetime
from typing import Any, Literal

from server.protocol.admin.tools import ToolBinding, ToolEffect, ToolProof
from server.protocol.base import Natural, Wire

IntegrationKind = Literal["shopify", "woocommerce", "custom_api", "mysql_database", "postgres_database"]
EndpointMethod = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "SQL"]


class IntegrationVerdict(Wire, frozen=True):
    """What a connection test found: what happened, what to do about it, how long it took."""

    ok: bool
    message: str
    advice: str | None
    ms: int


class IntegrationInfo(Wire, frozen=True):
    """One system. `connection` has no secret, only `secrets_set`, the names of those that are there, and the names of
    fixed headers; it is null where it cannot be read, and `problem` says why. `last_test` is of this very
    configuration. `preset`: its usual endpoints are known.
    """

    id: int
    integration_type: IntegrationKind
    enabled: bool
    connection: dict[str, Any] | None
    problem: str | None
    last_test_at: datetime | None
    last_test: IntegrationVerdict | None
    endpoints: int
    preset: bool
    version: int
    created_at: datetime


class IntegrationsOfClient(Wire, frozen=True):
    """Oldest first."""

    rows: list[IntegrationInfo]


class IntegrationCreate(Wire, frozen=True):
    """`config` is whole, secrets included. Nothing is called yet."""

    integration_type: IntegrationKind
    config: dict[str, Any]


class IntegrationEdit(Wire, frozen=True):
    """`config` is whole, secrets included, or null: it stays. In parts it cannot be changed: a secret could be sent to
    another address.
    """

    version: Natural
    enabled: bool
    config: dict[str, Any] | None


class EndpointInfo(Wire, frozen=True):
    """Live data. `endpoint_url` is a URL template below the system's address, or a statement where `method` is SQL.
    `response_path` is JMESPath; `cache_ttl` is seconds.
    """

    endpoint_name: str
    endpoint_url: str
    method: EndpointMethod
    description: str
    parameters_schema: dict[str, Any]
    response_path: str | None
    cache_ttl: int
    effect: ToolEffect
    proof: ToolProof
    confirm: bool
    bound: dict[str, ToolBinding]
    label: dict[str, str]
    version: int


class EndpointsOfIntegration(Wire, frozen=True):
    """Oldest first."""

    rows: list[EndpointInfo]


class EndpointCreate(Wire, frozen=True):
    """Another look-up. What is null, or left out, follows from the integration and the method."""

    endpoint_name: str
    endpoint_url: str
    description: str
    parameters_schema: dict[str, Any]
    method: EndpointMethod | None = None
    response_path: str | None = None
    cache_ttl: int | None = None
    effect: ToolEffect | None = None
    proof: ToolProof = "session"
    confirm: bool = False
    bound: dict[str, ToolBinding] = {}
    label: dict[str, str] = {}


class EndpointEdit(Wire, frozen=True):
    """A look-up's whole definition; its name may be another one. `version` is the one that was seen."""

    version: Natural
    endpoint_name: str
    endpoint_url: str
    method: EndpointMethod
    description: str
    parameters_schema: dict[str, Any]
    response_path: str | None
    cache_ttl: int
    effect: ToolEffect
    proof: ToolProof
    confirm: bool
    bound: dict[str, ToolBinding]
    label: dict[str, str]
