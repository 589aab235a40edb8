"""Who is asking: keys, origins, session tokens, and that nothing can be probed."""

import asyncio
import time

import jwt
import pytest

from server import access, ids
from server.access import Access, Session, check_origin
from server.errors import Forbidden, Invalid, NotFound, RequestError, Unauthorized
from server.net.signing import Keyring
from server.net.vault import Vault
from server.repositories import clients
from server.repositories.pool import reading
from server.services import Services
from tests.support import SECRET_KEYS, Shop, eventually, new_shop, rows, visit
from tests.vouching import new_identity_secret, signed, verified

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
    keys = (new_key, *SECRET_KEYS)
    rotated = Access(services.pool, Keyring(keys), Vault(keys))
    assert (await rotated.client_by_secret_key(shop.secret_key)).id == shop.id
    await rotated.session(shop.client, session_id=session_id, token=session.token)
    await rotated.session_by_token(session.token, session_id=session_id)
    after = await rotated.new_session(shop.client, channel="widget", locale=None)
    await rotated.session_by_token(after.token, session_id=after.conversation.session_id)

    without_old = Access(services.pool, Keyring((new_key,)), Vault((new_key,)))
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


async def person(services: Services, session: Session) -> str | None:
    """Who counts as verified in a conversation, by the client's own name for them."""
    visitor = await verified(services.pool, client_id=session.client.id, conversation_id=session.conversation.id)
    return visitor.external_id if visitor else None


async def identity_refusal(services: Services, session: Session, token: str) -> str:
    """The code of a refused identity."""
    with pytest.raises(Invalid) as refusal:
        await services.access.identify(session, token)
    assert refusal.value.field == "identity"
    return refusal.value.code


async def test_a_visitor_is_vouched_for(services: Services, shop: Shop) -> None:
    """The conversation is theirs until the token expires; a second conversation is the same person's."""
    secret = await new_identity_secret(services.pool, shop.id)
    session = await visit(services, shop)
    before = time.time()
    known = await services.access.identify(session, signed(secret, "7", email="ann@example.com", name="Ann"))
    assert (known.token, known.client) == (session.token, session.client)
    assert known.conversation.verified_until is not None
    assert 599 < known.conversation.verified_until.timestamp() - before < 660
    assert await person(services, session) == "7"
    again = await services.access.identify(await visit(services, shop), signed(secret, "7"))
    assert again.conversation.visitor_id == known.conversation.visitor_id
    assert await rows(services, "select external_id, email, name from visitors") == [("7", "ann@example.com", "Ann")]
    by_token = await services.access.session_by_token(session.token, session_id=session.conversation.session_id)
    assert by_token.conversation == known.conversation


async def test_nobody_is_vouched_for_without_a_secret(services: Services, shop: Shop) -> None:
    """A client that has none; a secret that the deployment's keys do not open; a row moved from another client."""
    session = await visit(services, shop)
    assert await identity_refusal(services, session, signed("x" * 64, "7")) == "identity_off"
    bakery = await new_shop(services, "bakery")
    theirs = await new_identity_secret(services.pool, bakery.id)
    await rows(
        services, "update clients set identity_secret = (select identity_secret from clients where id = %s)", bakery.id
    )
    assert await identity_refusal(services, session, signed(theirs, "7")) == "identity_off"
    mine = await new_identity_secret(services.pool, shop.id)
    keys = ("fedcba9876543210fedcba9876543210",)
    without = Access(services.pool, Keyring(keys), Vault(keys))
    with pytest.raises(Invalid) as refusal:
        await without.identify(session, signed(mine, "7"))
    assert refusal.value.code == "identity_off"
    assert await person(services, session) is None
    assert await rows(services, "select count(*) from visitors") == [(0,)]


async def test_an_identity_of_no_use(services: Services, shop: Shop) -> None:
    """Tampered with, expired, unsigned, another client's: nothing is written, and who was verified stays so."""
    secret = await new_identity_secret(services.pool, shop.id)
    foreign = await new_identity_secret(services.pool, (await new_shop(services, "bakery")).id)
    session, other = await visit(services, shop), await visit(services, shop)
    await services.access.identify(session, signed(secret, "7"))
    good = signed(secret, "eve")
    for token in (
        signed(foreign, "eve"),
        signed(secret, "eve", expires_s=-1),
        jwt.encode({"sub": "eve", "exp": time.time() + 60}, "", algorithm="none"),
        good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        good.rpartition(".")[0] + ".",
        signed(secret, "eve", padding="x" * 65_536),
        *NASTY,
    ):
        assert await identity_refusal(services, session, token) == "identity_invalid"
        assert await identity_refusal(services, other, token) == "identity_invalid"
    assert await person(services, session) == "7"
    assert await person(services, other) is None
    assert await rows(services, "select external_id from visitors") == [("7",)]


async def test_a_rotated_identity_secret(services: Services, shop: Shop) -> None:
    """What was signed with the old one is refused, and whom it vouched for is unverified at once."""
    old = await new_identity_secret(services.pool, shop.id)
    session = await visit(services, shop)
    await services.access.identify(session, signed(old, "7"))
    new = await new_identity_secret(services.pool, shop.id)
    assert await person(services, session) is None
    assert await identity_refusal(services, session, signed(old, "7")) == "identity_invalid"
    await services.access.identify(session, signed(new, "7"))
    assert await person(services, session) == "7"


async def test_a_conversation_of_another_visitor(services: Services, shop: Shop) -> None:
    """It stays the first one's, but while somebody else is at the keyboard nobody is verified."""
    secret = await new_identity_secret(services.pool, shop.id)
    session = await visit(services, shop)
    await services.access.identify(session, signed(secret, "ann"))
    assert await identity_refusal(services, session, signed(secret, "bob")) == "identity_other"
    assert await person(services, session) is None
    [(owner,)] = await rows(
        services, "select v.external_id from conversations c join visitors v on v.id = c.visitor_id"
    )
    assert owner == "ann"
    fresh = await services.access.identify(await visit(services, shop), signed(secret, "bob"))
    assert await person(services, fresh) == "bob"
    await services.access.identify(session, signed(secret, "ann"))
    assert await person(services, session) == "ann"


async def test_a_shorter_token_does_not_shorten(services: Services, shop: Shop) -> None:
    """The last of two tabs may have been given its token first; nobody is verified for more than a day."""
    secret = await new_identity_secret(services.pool, shop.id)
    session = await visit(services, shop)
    long = await services.access.identify(session, signed(secret, "7", expires_s=10**9))
    short = await services.access.identify(session, signed(secret, "7", expires_s=60))
    until = long.conversation.verified_until
    assert until is not None and until == short.conversation.verified_until
    assert 86_390 < until.timestamp() - time.time() <= 86_400


async def test_ten_tabs_at_once(services: Services, shop: Shop) -> None:
    """One person is one row; of two, the conversation is one's, and the other is refused each time."""
    secret = await new_identity_secret(services.pool, shop.id)
    session = await visit(services, shop)
    await asyncio.gather(*(services.access.identify(session, signed(secret, "ann")) for _ in range(10)))
    assert await rows(services, "select count(*) from visitors") == [(1,)]
    contested = await visit(services, shop)
    results = await asyncio.gather(
        *(services.access.identify(contested, signed(secret, "ann" if n % 2 else "bob")) for n in range(10)),
        return_exceptions=True,
    )
    bound = [each.conversation.visitor_id for each in results if isinstance(each, Session)]
    refused = [each.code for each in results if isinstance(each, Invalid)]
    assert (len(bound), refused) == (5, ["identity_other"] * 5)
    assert await rows(services, "select visitor_id from conversations where id = %s", contested.conversation.id) == [
        (bound[0],)
    ]
    assert len(set(bound)) == 1


async def test_a_conversation_that_is_gone(services: Services, shop: Shop) -> None:
    """Erased while the visitor was away: there is nothing to verify, and no person is left behind."""
    secret = await new_identity_secret(services.pool, shop.id)
    session = await visit(services, shop)
    await rows(services, "delete from conversations where id = %s", session.conversation.id)
    with pytest.raises(NotFound):
        await services.access.identify(session, signed(secret, "7"))
    assert await rows(services, "select count(*) from visitors") == [(0,)]
