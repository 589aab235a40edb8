"""The common shape of structs on the wire: absent rather than null, unknown fields ignored."""

from typing import Annotated

import msgspec


class Wire(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Anything that crosses the wire. Fields at their default are left out."""


class Frame(Wire, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """One WebSocket message, told apart by `type`."""


# Ids are opaque to clients; the bound only keeps nonsense out of the database.
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
# Chosen by the sender of a message, unique within a conversation.
Cid = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
# BCP 47, as browsers write it.
Locale = Annotated[str, msgspec.Meta(min_length=2, max_length=35, pattern=r"^[A-Za-z0-9-]+(?![\s\S])")]
Natural = Annotated[int, msgspec.Meta(ge=0)]
