"""An operator who has signed in, and whom they serve."""

from datetime import datetime

import msgspec

from server.repositories.operators import Operator


class Signed(msgspec.Struct, frozen=True):
    """A session of the console that held good when it was read: `Staff.still` reads it anew."""

    operator: Operator
    session_id: int
    expires_at: datetime


def serves(operator: Operator, client_id: int) -> bool:
    """Whether this operator may see this client's rows. Who belongs to no client serves all of them."""
    return operator.client_id is None or operator.client_id == client_id
