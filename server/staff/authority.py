"""Who may manage whom: an owner everybody, an admin everybody but owners, of one client if they have one. Pure."""

from server.errors import Forbidden, Invalid, NotFound
from server.repositories.operators import Operator


def sees(by: Operator, other: Operator) -> bool:
    """Whether `by` may know of this person. Without a client one serves all."""
    return by.role in {"owner", "admin"} and (by.client_id is None or by.client_id == other.client_id)


def manages(by: Operator, other: Operator) -> bool:
    """Whether `by` may change this person, and let them in by a password or a link."""
    return sees(by, other) and (by.role == "owner" or other.role != "owner")


def check_manages(by: Operator, other: Operator | None) -> Operator:
    """Raises NotFound for who is not there and for another client's alike, Forbidden `role_needed` for an owner."""
    if other is None or not sees(by, other):
        raise NotFound("there is no such operator")
    if not manages(by, other):
        raise Forbidden("an owner is changed by owners alone", code="role_needed")
    return other


def check_may_make(by: Operator, *, role: str, client_id: int | None) -> None:
    """Whether `by` may give somebody this role. Raises Forbidden `role_needed`, Invalid `client_id`."""
    if by.role == "owner":
        return
    if by.role != "admin" or role == "owner":
        raise Forbidden("an owner is made by owners alone", code="role_needed")
    if by.client_id is not None and client_id != by.client_id:
        raise Invalid(f"`client_id` can only be {by.client_id}, the client that you serve", field="client_id")
