"""A session that begins with a visitor whom the client's backend vouches for."""

from typing import Any

import httpx
import pytest

from tests.flows.support import Desk, Shop
from tests.vouching import new_identity_secret, signed


async def begin(desk: Desk, shop: Shop, **fields: Any) -> httpx.Response:
    """As a widget of the shop's website does."""
    return await desk.http.post(
        f"{desk.url}/api/v1/sessions", headers={"origin": shop.origin}, json={"key": shop.key, **fields}
    )


async def test_the_session_is_theirs(desk: Desk) -> None:
    """From the first moment; without an identity it is nobody's."""
    shop = await desk.shop()
    secret = await new_identity_secret(desk.pool, shop.id)
    assert (await begin(desk, shop, identity=signed(secret, "7", name="Ann"))).status_code == 201
    assert (await begin(desk, shop)).status_code == 201
    assert await desk.rows(
        "select v.external_id, v.name, c.verified_until > now() from conversations c "
        "left join visitors v on v.id = c.visitor_id order by c.id"
    ) == [("7", "Ann", True), (None, None, None)]


@pytest.mark.parametrize("wrong", ["expired", "foreign", "none"])
async def test_an_identity_of_no_use_begins_nothing(desk: Desk, wrong: str) -> None:
    """A 422 says why, and no session and no visitor are left behind."""
    shop, other = await desk.shop(), await desk.shop()
    secret, foreign = [await new_identity_secret(desk.pool, each.id) for each in (shop, other)]
    token, reason = {
        "expired": (signed(secret, "7", expires_s=-1), "expired"),
        "foreign": (signed(foreign, "7"), "not signed with this client's identity secret"),
        "none": (f"eyJhbGciOiJub25lIn0.{signed(secret, '7').split('.')[1]}.", "HS256"),
    }[wrong]
    before = await desk.fingerprint()
    refused = await begin(desk, shop, identity=token)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["field"]) == (422, "identity_invalid", "identity")
    assert reason in error["message"]
    assert await desk.fingerprint() == before
