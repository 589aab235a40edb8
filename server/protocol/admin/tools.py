"""Tools: the catalogue, what a client uses of it, and calls that try one out."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.protocol.base import Natural, Wire

ToolEffect = Literal["read_only", "idempotent", "unsafe"]
ToolProof = Literal["none", "session", "verified"]
ToolBinding = Literal["visitor.id", "visitor.email", "visitor.name"]
# How a call that tries a tool out ended. `accepted`: the workflow would call back later, and a trial has no such call.
TrialOutcome = Literal["ok", "failed", "in_doubt", "accepted"]


class CatalogueTool(Wire, frozen=True):
    """A tool that every client may enable. `parameters_schema` is JSON Schema; `bound` says which arguments the server
    fills from the verified visitor; `label` is what a visitor reads meanwhile, by language.
    """

    tool_name: str
    description: str
    category: str
    parameters_schema: dict[str, Any]
    effect: ToolEffect
    proof: ToolProof
    confirm: bool
    bound: dict[str, ToolBinding]
    label: dict[str, str]
    version: int
    created_at: datetime


class Catalogue(Wire, frozen=True):
    """All of it, by category and name."""

    rows: list[CatalogueTool]


class CatalogueToolEdit(Wire, frozen=True):
    """A tool's whole definition. `version` is the one that was seen, null to make a new tool."""

    version: Natural | None
    description: str
    category: str
    parameters_schema: dict[str, Any]
    effect: ToolEffect
    proof: ToolProof
    confirm: bool
    bound: dict[str, ToolBinding]
    label: dict[str, str]


class DefinitionDraft(Wire, frozen=True):
    """A definition as somebody is writing it: anything. Its `parameters_schema` may be the text of the JSON, too."""

    definition: dict[str, Any]


class DefinitionProblem(Wire, frozen=True):
    """What is wrong at one place. `path` leads from the field inwards, such as `properties/order_id/type`; empty: the
    whole field.
    """

    field: str
    path: str
    message: str


class OfferedTool(Wire, frozen=True):
    """A tool as a model sees it: without the arguments that the server fills."""

    name: str
    description: str
    parameters: dict[str, Any]


class DefinitionChecked(Wire, frozen=True):
    """`offered` is null while anything is wrong."""

    problems: list[DefinitionProblem]
    offered: OfferedTool | None


class ToolOfClient(Wire, frozen=True):
    """A tool of the catalogue as one client uses it, or used it while it was enabled.

    `url` is where it is called, null for nowhere; `n8n_webhook_url` its own address, null for the client's base URL and
    its name. `proof` and `confirm` hold: the stricter of catalogue and client, whose own are `client_proof` and
    `client_confirm`. `signed`: a signing secret is set. `problem` says why the AI is not offered it though it is
    enabled.
    """

    tool_name: str
    description: str
    category: str
    parameters_schema: dict[str, Any]
    bound: dict[str, ToolBinding]
    effect: ToolEffect
    enabled: bool
    n8n_webhook_url: str | None
    url: str | None
    timeout_ms: int
    custom_config: dict[str, Any]
    client_proof: ToolProof | None
    client_confirm: bool
    proof: ToolProof
    confirm: bool
    signed: bool
    problem: str | None
    version: int


class ToolsOfClient(Wire, frozen=True):
    """By name, disabled ones too. `webhook_base_url` is where those without a webhook of their own are called."""

    webhook_base_url: str | None
    rows: list[ToolOfClient]


class ToolOfClientEdit(Wire, frozen=True):
    """How a client uses a tool, whole. `version` is the one that was seen, null where the client has not had it."""

    version: Natural | None
    enabled: bool
    n8n_webhook_url: str | None
    timeout_ms: int
    custom_config: dict[str, Any]
    client_proof: ToolProof | None
    client_confirm: bool


class ToolOfClientSaved(Wire, frozen=True):
    """`signing_secret` only where it has just been made; it is never shown again."""

    tool: ToolOfClient
    signing_secret: str | None


class SigningSecret(Wire, frozen=True):
    """Shown once."""

    signing_secret: str


class BaseUrlEdit(Wire, frozen=True):
    """`was` is the one that was seen; null stands for none."""

    webhook_base_url: str | None
    was: str | None


class BaseUrl(Wire, frozen=True):
    """As it stands now, in the spelling that is called."""

    webhook_base_url: str | None


class TrialVisitor(Wire, frozen=True):
    """The visitor to pose as: one whom the client's backend vouched for. `id` is its own name for them."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    email: Annotated[str, msgspec.Meta(max_length=320)] | None = None
    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Trial(Wire, frozen=True):
    """A call that tries a tool out. `arguments` are the model's: those that the server fills come from `visitor`.

    `really` must be true for an `unsafe` tool: the call does what it does for visitors.
    """

    arguments: dict[str, Any] = {}
    visitor: TrialVisitor | None = None
    really: bool = False


class TrialRequest(Wire, frozen=True):
    """What was sent, secrets masked. For a database `method` is SQL, `url` the server, `body` the statement,
    `parameters` its values.

    `body` is cut after some 64 KB, and then `cut`.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: str | None
    parameters: dict[str, Any] | None
    cut: bool


class TrialResponse(Wire, frozen=True):
    """What came back, as text, secrets masked. `bytes` is its length; `body` is cut after some 64 KB, and then `cut`.
    `status` null: a database.
    """

    status: int | None
    headers: dict[str, str]
    body: str
    bytes: int
    cut: bool


class TrialExchange(Wire, frozen=True):
    """One request and its answer, or why there is none."""

    request: TrialRequest
    response: TrialResponse | None
    error: str | None
    ms: int


class TrialResult(Wire, frozen=True):
    """How it went. Two `exchanges`: it was tried again, as for visitors; none: nothing was sent, and `error` says why.

    `content` is what a model would read. `error` is the whole reason, for you.
    """

    outcome: TrialOutcome
    exchanges: list[TrialExchange]
    content: str
    error: str | None
    ms: int
