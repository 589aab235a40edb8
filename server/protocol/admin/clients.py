"""Clients: what they are, what they chose, what they use, and how their widget gets on a page."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from server.protocol.base import Natural, Wire
from server.protocol.client_config import ModelConfig, WidgetConfig

ClientStatus = Literal["active", "suspended"]

ClientName = Annotated[str, msgspec.Meta(max_length=100)]
Domain = Annotated[str, msgspec.Meta(max_length=253)]
Origins = Annotated[list[Annotated[str, msgspec.Meta(max_length=300)]], msgspec.Meta(max_length=20)]
PlanName = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
# What fits a body in any script. A model reads about 6,000 tokens of it with each answer.
Prompt = Annotated[str, msgspec.Meta(max_length=20_000)]
ClientLocale = Annotated[str, msgspec.Meta(max_length=35)]
Timezone = Annotated[str, msgspec.Meta(max_length=64)]


class ClientsQuery(Wire, frozen=True):
    """`q` is looked for in name and domain. `before` is a page's."""

    q: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    status: ClientStatus | None = None
    before: Natural | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class MonthUse(Wire, frozen=True):
    """The calendar month so far, in UTC. `monthly_messages` is what the plan allows; null: no limit.

    `cost` is US dollars.
    """

    since: date
    resets_at: datetime
    conversations: int
    messages: int
    monthly_messages: int | None
    tokens_input: int
    tokens_output: int
    tool_calls: int
    cached_answers: int
    cost: Decimal


class ClientRow(Wire, frozen=True):
    """One client of the list. `seen_at`: when a page of an allowed origin last loaded its widget."""

    id: int
    name: str
    domain: str
    public_key: str
    plan: str
    status: ClientStatus
    created_at: datetime
    seen_at: datetime | None
    month: MonthUse


class ClientPage(Wire, frozen=True):
    """Newest first, those whom the operator serves. `before` fetches the page after this one; null: there is none."""

    rows: list[ClientRow]
    before: int | None


class ClientDetail(Wire, frozen=True):
    """One client, whole. What may be edited goes back with `ClientEdit`.

    `model` and `widget` leave out what is at its default. `ignored` names fields of the stored row that make no sense
    and count for nothing, such as `widget.colors`. `has_identity_secret`: its backend can vouch for visitors.
    """

    id: int
    version: int
    name: str
    domain: str
    allowed_origins: list[str]
    public_key: str
    api_key_prefix: str
    has_identity_secret: bool
    plan: str
    requests_per_minute: int
    status: ClientStatus
    system_prompt: str
    model: ModelConfig
    widget: WidgetConfig
    ignored: list[str]
    locale: str
    timezone: str
    created_at: datetime
    month: MonthUse
    widget_languages: list[str]


class ClientCreate(Wire, frozen=True):
    """A new client. Without origins: https:// of the domain and of www. before it."""

    name: ClientName
    domain: Domain
    allowed_origins: Origins | None = None
    plan: PlanName = "free"
    locale: ClientLocale = "en"
    timezone: Timezone = "UTC"


class ClientCreated(Wire, frozen=True):
    """`api_key` is shown here only. `script` goes into the website's HTML."""

    client: ClientDetail
    api_key: str
    script: str


class ClientEdit(Wire, frozen=True):
    """All that may be edited, as it shall be; `version` is the one that was seen. Another `plan` takes an owner.

    `locale` is a language tag, or `auto`: the visitor's own.
    """

    version: Natural
    name: ClientName
    domain: Domain
    allowed_origins: Origins
    plan: PlanName
    system_prompt: Prompt
    model: ModelConfig
    widget: WidgetConfig
    locale: ClientLocale
    timezone: Timezone


class ApiKeyShown(Wire, frozen=True):
    """`api_key` is shown here only; the one before it stopped working."""

    client_id: int
    api_key: str
    api_key_prefix: str


class IdentitySecretCreate(Wire, frozen=True):
    """`rotate`: where there is one, another; whoever the old one vouched for is unverified at once."""

    rotate: bool = False


class IdentitySecretShown(Wire, frozen=True):
    """`identity_secret` is shown here only. The client's backend signs JWTs with it (HS256)."""

    client_id: int
    identity_secret: str


class EmbedCode(Wire, frozen=True):
    """What goes into the website's HTML. `inline` puts the widget into an element of the page.

    `csp` is what a Content-Security-Policy of the website must allow, a line a directive.
    """

    public_key: str
    script: str
    inline: str
    csp: list[str]


class OriginSeen(Wire, frozen=True):
    """Pages of one origin, and when they loaded the widget, to the minute. Null: not yet."""

    origin: str
    allowed: bool
    first_at: datetime | None
    last_at: datetime | None


class ScriptSeen(Wire, frozen=True):
    """Whether the widget is on the site. `seen_at`: when a page of an allowed origin last loaded it; null: never yet.

    `origins` are the allowed ones, and after them those that load it without being allowed: there it cannot chat.
    """

    client_id: int
    seen_at: datetime | None
    origins: list[OriginSeen]


class PlanInfo(Wire, frozen=True):
    """`monthly_messages` null: no limit. `price` is US dollars a month."""

    name: str
    monthly_messages: int | None
    requests_per_minute: int
    price: Decimal


class Plans(Wire, frozen=True):
    """The cheapest first."""

    rows: list[PlanInfo]
