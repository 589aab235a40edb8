"""Who is asking: keys, origins, session tokens, and that nothing can be probed."""

import asyncio
import time

import pytest

from server import access, ids
from server.access import Access, check_origin, normal_origin
from server.errors import Forbidden, NotFound, RequestError, Unauthorized
from server.net.signing import Keyring
from server.repositories import clients
from server.repositories.pool import reading
from server.services import Services
from tests.support import SECRET_KEYS, Shop, eventually, new_shop, rows, visit

NASTY = ["", " ", "pk_", "sk_' or '1'='1", "\0", "a\0b", "\ud800", "é漢🙂", "x" * 10_000]


async def refusal_of(work: object) -> tuple[type[RequestError], str, str]:
    """What a refusal tells the one who asked."""
    with pytest.raises(RequestError) as error:
        await work  # type: ignore[misc]  # any coroutine
    return type(error.value), error.value.code, error.value.message


async def suspend(services: Services, shop: Shop) -> None:
    """As `frontdesk client suspend` does."""
    async with reading(services.pool) as conn:
        assert await clients.set_status(conn, client_id=shop.id, status="suspended")


async def test_keys_name_their_client(services: Services, shop: Shop) -> None:
    """Each its own, whoever else is there."""
    bakery = await new_shop(services, "bakery")
    for each in (shop, bakery):
        assert (await services.access.client_by_public_key(each.public_key)).id == each.id
        assert (await services.access.client_by_secret_key(each.secret_key)).id == each.id


async def test_keys_that_are_none(services: Services, shop: Shop) -> None:
    """The same answer for each: of the other kind, one character off, nonsense."""
    off = shop.secret_key[:-1] + ("0" if shop.secret_key[-1] != "0" else "1")
    for key in (
        *NASTY,
        shop.secret_key,
        shop.public_key + "0",
        shop.public_key.upper(),
        shop.public_key + "\0",
        ids.public_key(),
    ):
        assert await refusal_of(services.access.client_by_public_key(key)) == (
            Unauthorized,
            "bad_key",
            "no client has this key",
        )
    for key in (*NASTY, shop.public_key, off, shop.secret_key + " ", ids.secret_key()):
        assert await refusal_of(services.access.client_by_secret_key(key)) == (
            Unauthorized,
            "bad_key",
            "no client has this key",
        )


async def test_the_secret_key_is_not_in_the_database(services: Services, shop: Shop) -> None:
    """Only its HMAC and its first characters are."""
    [(row,)] = await rows(services, "select c::text from clients c")
    assert shop.secret_key not in row
    assert shop.secret_key[:8] in row


async def test_a_suspended_client_is_out_within_seconds(
    services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its secret key at once; by its public key when the kept row is as old as a row may be, and not much later."""
    monkeypatch.setattr(access, "CLIENT_AGE_S", 0.3)
    session = await visit(services, shop)
    await services.access.client_by_public_key(shop.public_key)
    since = time.monotonic()
    await suspend(services, shop)
    suspended = (Forbidden, "client_suspended", "this client is suspended")
    assert await refusal_of(services.access.client_by_secret_key(shop.secret_key)) == suspended
    token = session.token
    session_id = session.conversation.session_id
    assert await refusal_of(services.access.session_by_token(token, session_id=session_id)) == suspended

    async def out() -> bool:
        try:
            await services.access.client_by_public_key(shop.public_key)
        except Forbidden:
            return True
        return False

    await eventually(out, "the public key is refused")
    assert 0.25 < time.monotonic() - since < 3
    assert await refusal_of(services.access.refresh(shop.client)) == suspended


def test_a_row_is_old_within_five_seconds() -> None:
    """The promise is that revoking reaches everybody within 5 s."""
    assert access.CLIENT_AGE_S < 5


async def test_an_origin_is_known_while_its_client_is_active(
    services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before a socket is accepted, when nobody has named a client yet."""
    monkeypatch.setattr(access, "CLIENT_AGE_S", 0.0)
    assert await services.access.origin_known("https://pizza.example")
    assert not await services.access.origin_known("https://bakery.example")
    await suspend(services, shop)
    assert not await services.access.origin_known("https://pizza.example")


ALLOWED = ["https://shop.example", "http://localhost:8000"]


@pytest.mark.parametrize("origin", ALLOWED)
async def test_an_allowed_origin(services: Services, origin: str) -> None:
    """Every one of the client's list."""
    check_origin((await new_shop(services, allowed_origins=ALLOWED)).client, origin)


async def test_near_misses_of_an_origin(services: Services) -> None:
    """Scheme, host and port are compared whole: no prefix, no suffix, no case, no default port."""
    client = (await new_shop(services, allowed_origins=ALLOWED)).client
    for origin in (
        None,
        "",
        "null",
        "*",
        "http://shop.example",
        "https://shop.example:443",
        "https://shop.example:8443",
        "https://shop.example/",
        "https://shop.example.evil.example",
        "https://evil-shop.example",
        "https://www.shop.example",
        "https://shop.exampl",
        "https://shop.example.",
        "HTTPS://SHOP.EXAMPLE",
        " https://shop.example",
        "https://shop.example\n",
        "https://shop.example, https://evil.example",
        "https://evil.example#https://shop.example",
        "https://shop.example@evil.example",
        "http://localhost",
        "http://localhost:80",
        "http://127.0.0.1:8000",
        "https://localhost:8000",
    ):
        with pytest.raises(Forbidden) as refusal:
            check_origin(client, origin)
        assert refusal.value.code == "origin_not_allowed"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        (" https://Shop.Example:443/path?x=1#y ", "https://shop.example"),
        ("HTTP://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://shop.example:80/", "https://shop.example:80"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://[2001:DB8:0:0::1]", "https://[2001:db8::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://my_shop.example", "https://my_shop.example"),
        ("https://192.0.2.1:444", "https://192.0.2.1:444"),
        ("", None),
        ("null", None),
        ("*", None),
        ("shop.example", None),
        ("//shop.example", None),
        ("https://", None),
        ("https:///path", None),
        ("https://*.shop.example", None),
        ("https://shop .example", None),
        ("https://shop.example:port", None),
        ("https://shop.example:65536", None),
        ("https://user@shop.example", None),
        ("https://user:pass@shop.example", None),
        ("https://shop.example\\@evil.example", None),
        ("https://a..b", None),
        ("https://-shop.example", None),
        ("https://[::1", None),
        ("file:///etc/passwd", None),
        ("ws://shop.example", None),
        ("javascript://shop.example", None),
        ("https://" + "a" * 70 + ".example", None),
    ],
)
def test_an_origin_as_browsers_send_it(text: str, origin: str | None) -> None:
    """What a person types becomes what is compared, or nothing."""
    assert normal_origin(text) == origin
    assert origin is None or normal_origin(origin) == origin


async def test_a_session_needs_its_token(services: Services, shop: Shop) -> None:
    """The right one opens it, by itself or with its client."""
    session = await visit(services, shop)
    session_id = session.conversation.session_id
    by_client = await services.access.session(shop.client, session_id=session_id, token=session.token)
    by_token = await services.access.session_by_token(session.token, session_id=session_id)
    assert by_client.conversation.id == by_token.conversation.id == session.conversation.id
    assert by_token.client.id == shop.id


async def test_what_is_not_yours_is_not_there(services: Services, shop: Shop) -> None:
    """Another's session, another's token, an id that is none: one answer, so that nothing can be probed."""
    bakery = await new_shop(services, "bakery")
    mine, neighbour, stranger = await visit(services, shop), await visit(services, shop), await visit(services, bakery)
    mine_id, neighbour_id = mine.conversation.session_id, neighbour.conversation.session_id
    stranger_id = stranger.conversation.session_id
    by_client = (Unauthorized, "bad_token", "no session of this client has this token")
    for session_id, token in (
        (mine_id, neighbour.token),
        (mine_id, stranger.token),
        (mine_id, shop.secret_key),
        (mine_id, mine.token.upper()),
        (neighbour_id, mine.token),
        (stranger_id, stranger.token),
        (ids.session_id(), mine.token),
        (mine_id + "\0", mine.token),
        (mine_id, mine.token + "\0"),
        *((mine_id, each) for each in NASTY),
        *((each, mine.token) for each in NASTY),
    ):
        assert await refusal_of(services.access.session(shop.client, session_id=session_id, token=token)) == by_client
    by_token = (Unauthorized, "bad_token", "no session has this token")
    for session_id, token in (
        (neighbour_id, mine.token),
        (stranger_id, mine.token),
        (mine_id, ids.session_token()),
        *((mine_id, each) for each in NASTY),
        *((each, mine.token) for each in NASTY),
    ):
        assert await refusal_of(services.access.session_by_token(token, session_id=session_id)) == by_token


async def test_the_clients_own_server_takes_up_its_sessions(services: Services, shop: Shop) -> None:
    """With the secret key no token is needed, for sessions of this client only."""
    session = await visit(services, shop)
    session_id = session.conversation.session_id
    adopted = await services.access.adopt_session(shop.client, session_id=session_id)
    assert (adopted.conversation.id, adopted.token) == (session.conversation.id, "")
    bakery = await new_shop(services, "bakery")
    refused = (NotFound, "not_found", "no session of this client has this id")
    assert await refusal_of(services.access.adopt_session(bakery.client, session_id=session_id)) == refused
    assert await refusal_of(services.access.adopt_session(shop.client, session_id=ids.session_id())) == refused


async def test_a_rotated_deployment_key(services: Services, shop: Shop) -> None:
    """With a new first key the old digests still match, and new ones are made with the new key only."""
    session = await visit(services, shop)
    session_id = session.conversation.session_id
    new_key = "fedcba9876543210fedcba9876543210"
    rotated = Access(services.pool, Keyring((new_key, *SECRET_KEYS)))
    assert (await rotated.client_by_secret_key(shop.secret_key)).id == shop.id
    await rotated.session(shop.client, session_id=session_id, token=session.token)
    await rotated.session_by_token(session.token, session_id=session_id)
    after = await rotated.new_session(shop.client, channel="widget", locale=None)
    await rotated.session_by_token(after.token, session_id=after.conversation.session_id)

    without_old = Access(services.pool, Keyring((new_key,)))
    with pytest.raises(Unauthorized):
        await without_old.client_by_secret_key(shop.secret_key)
    with pytest.raises(Unauthorized):
        await without_old.session(shop.client, session_id=session_id, token=session.token)
    await without_old.session_by_token(after.token, session_id=after.conversation.session_id)


async def test_one_shot_callers_find_their_session_again(services: Services, shop: Shop) -> None:
    """The same first cid means the same conversation; another client's same cid another one; none means a new one."""
    first, new = await services.access.session_for(shop.client, cid="c1", locale="de", user_identifier="ann")
    again, anew = await services.access.session_for(shop.client, cid="c1", locale="fr", user_identifier=None)
    assert (new, anew) == (True, False)
    assert again.conversation.id == first.conversation.id
    assert (again.conversation.locale, again.conversation.user_identifier) == ("de", "ann")
    assert (bool(first.token), again.token) == (True, ""), "the token is told once"
    bakery = await new_shop(services, "bakery")
    theirs, _ = await services.access.session_for(bakery.client, cid="c1", locale=None, user_identifier=None)
    assert theirs.conversation.client_id == bakery.id
    assert theirs.conversation.session_id != first.conversation.session_id
    one, _ = await services.access.session_for(shop.client, cid=None, locale=None, user_identifier=None)
    two, _ = await services.access.session_for(shop.client, cid=None, locale=None, user_identifier=None)
    assert one.conversation.id != two.conversation.id
    assert one.conversation.locale == shop.client.locale


async def test_ten_first_calls_at_once_begin_one_conversation(services: Services, shop: Shop) -> None:
    """Exactly one of them is told the token."""
    made = await asyncio.gather(
        *(services.access.session_for(shop.client, cid="c1", locale=None, user_identifier=None) for _ in range(10))
    )
    assert len({session.conversation.id for session, _ in made}) == 1
    assert sum(new for _, new in made) == 1
    assert sum(bool(session.token) for session, _ in made) == 1
    assert await rows(services, "select count(*) from conversations") == [(1,)]


async def test_the_kept_rows_are_bounded(services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients, and however many wrong keys: the oldest row goes."""
    monkeypatch.setattr(access, "CLIENTS_KEPT", 3)
    shops = [shop, *[await new_shop(services, f"shop{number}") for number in range(5)]]
    for _ in range(2):
        for each in shops:
            assert (await services.access.client_by_public_key(each.public_key)).id == each.id
    for number in range(50):
        with pytest.raises(Unauthorized):
            await services.access.client_by_public_key(f"pk_{number}")
    kept = services.access._by_key  # what is bounded is not to be seen from outside
    assert list(kept) == [each.public_key for each in shops[-3:]]
