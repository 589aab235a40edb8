"""No packet leaves for an address that is not allowed: the corpus, rebinding, redirects, against a listening sink.

`network_calls` sees each connect that Python is asked for, so addresses that no sink can listen on are covered too.
"""

import asyncio
import ipaddress
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import EgressError, Invalid
from server.net.address import AddressPolicy
from server.net.egress import Egress
from server.net.resolver import SystemResolver
from server.net.session import ForbiddenAddress, PinnedResolver, guarded_socket_factory
from tests.net import ssrf_corpus
from tests.net.ssrf_corpus import NAMES, STATIC_URLS, URLS, Attack, attacks
from tests.net.weather import Sink, answering, network_calls, ok, repeating, serving

EVERYWHERE = ("0.0.0.0/0", "::/0")


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A listener on every address of this machine."""
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    """As in production, with nothing private allowed, and a hostile DNS server."""
    egress = Egress(lookup=ssrf_corpus.lookup)
    yield egress
    await egress.close()


def test_the_corpus_is_large_and_of_many_families() -> None:
    """Over 300 URLs, none twice, of every family that the design names."""
    assert len(URLS) == len(set(URLS)) > 300
    families = Counter(attack.family for attack in attacks(80))
    assert {
        "decimal", "hex", "octal", "dotted hex", "dotted octal", "short", "mapped", "compatible", "6to4", "NAT64",
        "Teredo", "IPv4 range", "IPv6 range", "local name", "parser", "scheme", "private DNS",
    } <= set(families)  # fmt: skip
    assert set(URLS) - set(STATIC_URLS) == {attack.url for attack in attacks(80) if attack.family == "private DNS"}


def test_the_corpus_is_live(sink: Sink) -> None:
    """What is refused would work otherwise: the machine's own resolver takes these spellings to the sink."""
    reached = 0
    for attack in attacks(sink.port):
        host = attack.url.partition("://")[2].rpartition(f":{sink.port}")[0].strip("[]")
        if attack.family in ("parser", "scheme", "local name", "private DNS") or not host.isascii():
            continue
        with suppress(OSError):
            info = socket.getaddrinfo(host, sink.port, type=socket.SOCK_STREAM)[0]
            if ipaddress.ip_address(info[4][0]).is_loopback or info[4][0] == "0.0.0.0":
                with socket.create_connection((host, sink.port), timeout=5):
                    reached += 1
    assert reached == len(sink.arrived()) > 40


async def test_the_names_of_the_corpus_are_live(sink: Sink) -> None:
    """With everything allowed, the very same calls do reach the sink."""
    unguarded = Egress(EVERYWHERE, lookup=ssrf_corpus.lookup)
    for name in ("a-record.evil.test", "127.0.0.1.nip.test", "any.evil.test"):
        with network_calls() as calls, pytest.raises(EgressError) as caught:
            await unguarded.request("GET", f"http://{name}:{sink.port}/", timeout_s=0.2)
        assert caught.value.sent
        assert calls == [f"socket.connect ('{NAMES[name][0]}', {sink.port})"]
    await unguarded.close()
    assert len(sink.arrived()) == 3


FAMILIES = sorted({attack.family for attack in attacks(80)})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_url_is_refused_where_it_is_configured(egress: Egress, family: str) -> None:
    """With the field's name and what is allowed, without a question to DNS; names that only DNS can tell pass."""
    with network_calls() as calls:
        for attack in attacks(80):
            if attack.family == family and attack.static:
                with pytest.raises(Invalid) as caught:
                    egress.check_url(attack.url, field="n8n_webhook_url")
                assert caught.value.field == "n8n_webhook_url", attack
                assert caught.value.message.startswith("n8n_webhook_url "), attack
            elif attack.family == family:
                assert egress.check_url(attack.url).startswith("http"), attack
    assert calls == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_no_packet_leaves_for_the_corpus(egress: Egress, sink: Sink, family: str) -> None:
    """Each URL is called, as if it had been configured before there was a check: GET, POST, with and without TLS."""
    with network_calls() as calls:
        for attack in attacks(sink.port):
            if attack.family == family:
                await _refused(egress, attack)
    assert calls == []
    assert sink.arrived() == []


async def _refused(egress: Egress, attack: Attack) -> None:
    for method, url in (("GET", attack.url), ("POST", attack.url), ("POST", attack.url.replace("http:", "https:", 1))):
        with pytest.raises(EgressError) as caught:
            await egress.request(method, url, body=b"{}" if method == "POST" else None, timeout_s=5)
        assert caught.value.kind == "forbidden", attack
        assert not caught.value.sent, attack


async def test_the_machine_s_own_resolver_is_guarded_too() -> None:
    """What it finds is judged like any other answer: here the one name that every machine knows."""
    system = SystemResolver()
    assert {ipaddress.ip_address(text).is_loopback for text in await system("localhost")} == {True}
    with pytest.raises(EgressError, match="private or local") as caught:
        await PinnedResolver(AddressPolicy(), system).resolve("localhost", 80)
    assert (caught.value.kind, caught.value.sent) == ("forbidden", False)
    system.close()


def _hosts() -> list[tuple[str, bool]]:
    """The corpus's hosts, and whether each is refused without DNS; and what only a database driver would read."""
    found = [
        (attack.url.partition("://")[2].split("/")[0].rpartition(":80")[0], attack.static)
        for attack in attacks(80)
        if attack.family not in ("parser", "scheme")
    ]
    by_hand = [
        "", "/var/run/postgresql", "./socket", "@abstract", "\\\\.\\pipe\\MySQL", "127.0.0.1:5432", "x" * 300, "a..b",
        "127.0.0.1,hooks.example.com", "hooks.example.com,127.0.0.1", "hooks.example.com:3306", "hooks.example.com/db",
        "user@hooks.example.com", "hooks.example.com port=1 host=127.0.0.1", "hooks.example.com hostaddr=127.0.0.1",
        "hooks.example.com?host=/tmp", "hooks.example.com\n127.0.0.1", "hooks.example.com\0", "[::1]:5432", "::1%lo",
        "hooks.example.com#", "*",
    ]  # fmt: skip
    return found + [(host, True) for host in by_hand]


async def test_a_database_s_host_is_judged_alike(egress: Egress) -> None:
    """Refused at configuration or, for a name, when it is resolved; nothing is connected to."""
    assert len(_hosts()) > 300
    with network_calls() as calls:
        for host, static in _hosts():
            with pytest.raises(EgressError) as caught:
                await egress.resolve(host, 5432, timeout_s=5)
            assert (caught.value.kind, caught.value.sent) == ("forbidden", False), host
            if static:
                with pytest.raises(Invalid) as invalid:
                    egress.check_host(host, field="config.host")
                assert invalid.value.field == "config.host", host
                assert invalid.value.message.startswith("config.host "), host
            else:
                assert egress.check_host(host) == host.lower()
    assert calls == []


class Alternating:
    """A DNS server whose answers take turns, as a rebinding attacker's do."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked = 0
        self._answers = itertools.cycle(answers)

    async def __call__(self, host: str) -> list[str]:
        self.asked += 1
        await asyncio.sleep(0)
        return next(self._answers)


async def test_a_name_that_is_rebound_never_reaches_the_private_address() -> None:
    """127.0.0.2 plays the public address; the answers alternate with 127.0.0.1, where the sink is on the same port."""
    async with (
        serving(answering(ok(b"public", "Connection: close")), host="127.0.0.2") as public,
        serving(answering(ok(b"private")), host="127.0.0.1", port=public.port) as private,
    ):
        dns = Alternating(["127.0.0.2"], ["127.0.0.1"])
        egress = Egress(["127.0.0.2/32"], lookup=dns)
        outcomes = []
        for _ in range(50):
            try:
                response = await egress.request("GET", f"http://rebind.test:{public.port}/", timeout_s=5)
                outcomes.append(response.body.decode())
            except EgressError as error:
                assert not error.sent
                outcomes.append(error.kind)
        await egress.close()
    assert outcomes == ["public", "forbidden"] * 25
    assert dns.asked == 50, "a connection asks once: what is checked is what is connected to"
    assert (public.connections, private.connections) == (25, 0)


async def test_many_at_once_while_a_name_is_rebound() -> None:
    """Concurrent requests get the answer that they were checked for, and no other's."""
    async with (
        serving(answering(ok(b"public", "Connection: close")), host="127.0.0.2") as public,
        serving(answering(ok(b"private")), host="127.0.0.1", port=public.port) as private,
    ):
        dns = Alternating(["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"])
        egress = Egress(["127.0.0.2/32"], lookup=dns)
        url = f"http://rebind.test:{public.port}/"
        results = await asyncio.gather(
            *(egress.request("POST", url, body=b"{}", timeout_s=5) for _ in range(90)), return_exceptions=True
        )
        await egress.close()
    kinds = Counter(result.kind if isinstance(result, EgressError) else "answered" for result in results if result)
    assert kinds == {"answered": 30, "forbidden": 60}
    assert (public.connections, private.connections) == (30, 0)


async def test_a_kept_connection_stays_with_the_address_that_was_checked() -> None:
    """While it lives there is no second lookup, so no second answer."""
    async with (
        serving(repeating(ok(b"public")), host="127.0.0.2") as public,
        serving(repeating(ok(b"private")), host="127.0.0.1", port=public.port) as private,
    ):
        dns = Alternating(["127.0.0.2"], ["127.0.0.1"])
        egress = Egress(["127.0.0.2/32"], lookup=dns)
        for _ in range(5):
            assert (await egress.request("GET", f"http://rebind.test:{public.port}/", timeout_s=5)).body == b"public"
        await egress.close()
    assert (dns.asked, public.connections, private.connections) == (1, 1, 0)


async def test_a_database_s_address_is_pinned() -> None:
    """`resolve` gives an address, not a name to be looked up again; a rebound name is refused."""
    dns = Alternating(["93.184.215.14"], ["127.0.0.1"], ["93.184.215.14", "10.0.0.1"])
    egress = Egress(lookup=dns)
    assert await egress.resolve("db.test", 3306, timeout_s=5) == "93.184.215.14"
    for _ in range(2):
        with pytest.raises(EgressError, match=r"db\.test has a private or local address"):
            await egress.resolve("db.test", 3306, timeout_s=5)
    assert dns.asked == 3
    await egress.close()


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_redirect_is_an_answer(sink: Sink, method: str, status: int) -> None:
    """To the sink, to metadata or to a file: it is handed back as it stands and not followed."""
    for place in (
        f"http://127.0.0.1:{sink.port}/", f"//127.0.0.1:{sink.port}/", "http://169.254.169.254/latest", "file:///etc/passwd",
    ):  # fmt: skip
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nRefresh: 0; url={place}\r\nContent-Length: 0\r\n\r\n"
        async with serving(answering(head.encode()), host="127.0.0.2") as server:
            egress = Egress(["127.0.0.2/32"])
            with network_calls() as calls:
                response = await egress.request(method, server.url(), timeout_s=5)
            await egress.close()
        assert (response.status, response.headers["location"]) == (status, place)
        assert calls == [f"socket.connect ('127.0.0.2', {server.port})"]
    assert sink.arrived() == []


async def test_a_question_mark_ends_the_host(sink: Sink) -> None:
    """What looks like userinfo in a query is a query; the call goes to the host that is shown."""
    dns = Alternating(["127.0.0.2"])
    async with serving(repeating(ok()), host="127.0.0.2") as server:
        egress = Egress(["127.0.0.2/32"], lookup=dns)
        for tail in (
            f"?@127.0.0.1:{sink.port}/",
            f"/@127.0.0.1:{sink.port}/",
            "/http://127.0.0.1/",
            f"//127.0.0.1:{sink.port}",
        ):
            assert (await egress.request("GET", f"http://hooks.test:{server.port}{tail}", timeout_s=5)).status == 200
        await egress.close()
    assert sink.arrived() == []
    assert all(f"\r\nHost: hooks.test:{server.port}\r\n".encode() in request for request in server.requests)


@pytest.mark.parametrize("answer", sorted({address for answers in NAMES.values() for address in answers}))
def test_the_socket_is_a_wall_of_its_own(answer: str) -> None:
    """Were an address to pass every check before it, no socket is made for it. Public ones get one."""
    family = socket.AF_INET6 if ":" in answer else socket.AF_INET
    info = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (answer, 80))
    make = guarded_socket_factory(AddressPolicy())
    if answer in ("93.184.215.14", "2606:4700::1111"):
        make(info).close()
    else:
        with pytest.raises(ForbiddenAddress):
            make(info)


@given(st.ip_addresses())
def test_the_policy_is_never_wider_than_the_standard_library_s(address: ipaddress.IPv4Address) -> None:
    """What `ipaddress` calls private, loopback, link-local, multicast or reserved is refused, NAT64 of a public
    address apart."""
    local = not address.is_global or address.is_multicast or address.is_link_local or address.is_unspecified
    if AddressPolicy().permits(address):
        assert not local
        assert not address.is_reserved or address in ipaddress.ip_network("64:ff9b::/96")


@given(st.ip_addresses(v=4))
def test_ipv4_inside_of_ipv6_is_judged_like_itself(address: ipaddress.IPv4Address) -> None:
    """NAT64 reaches what IPv4 may reach; the other forms are not routed on the internet and reach nothing."""
    policy, number = AddressPolicy(), int(address)
    assert policy.permits(ipaddress.IPv6Address((0x64FF9B << 96) | number)) == policy.permits(address)
    for prefix in (0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B0001 << 80):
        assert not policy.permits(ipaddress.IPv6Address(prefix | number))
    assert not policy.permits(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))
    isatap = ipaddress.IPv6Address((0x26064700 << 96) | (0x02005EFE << 32) | number)
    assert policy.permits(isatap) == policy.permits(address)


@pytest.mark.parametrize(
    ("allow", "address", "permitted"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", False),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3", True),
        ("127.0.0.0/8", "0.0.0.0", False),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.1/32", "127.0.0.2", False),
        ("::1/128", "::1", True),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fd00:ec2::254", False),
        ("fd00:ec2::254/128", "fd00:ec2::254", True),
        ("169.254.0.0/16", "169.254.1.1", True),
        ("169.254.0.0/16", "169.254.169.254", False),
        ("0.0.0.0/0", "169.254.169.254", False),
        ("169.254.169.254/32", "169.254.169.254", True),
        ("::/0", "::ffff:169.254.169.254", False),
        ("::/0", "::ffff:10.0.0.1", False),
    ],
)
def test_what_a_deployment_allows(allow: str, address: str, permitted: bool) -> None:
    """A network opens itself and nothing else; metadata opens only by its own address, however wide the network."""
    assert AddressPolicy([allow]).permits(ipaddress.ip_address(address)) is permitted


def test_a_network_that_is_none_is_an_error() -> None:
    """Nothing starts with a list that cannot be read."""
    with pytest.raises(ValueError, match="10"):
        Egress(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        (["127.0.0.0/8"], "http://127.0.0.1:5678/webhook/x"),
        (["127.0.0.0/8"], "http://localhost:5678/webhook/x"),
        (["::1/128"], "http://localhost:5678/webhook/x"),
        (["::1/128"], "http://[::1]:5678/webhook/x"),
        (["10.0.0.0/8"], "http://n8n:5678/webhook/x"),
        (["10.0.0.0/8"], "http://n8n.internal/webhook/x"),
        (["10.0.0.0/8"], "http://10.1.2.3/webhook/x"),
    ],
)
def test_what_is_allowed_may_be_configured(allow: list[str], url: str) -> None:
    """And would not be without the network."""
    assert Egress(allow).check_url(url) == url
    with pytest.raises(Invalid):
        Egress().check_url(url)


@pytest.mark.parametrize(
    "url", ["http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://[::ffff:127.0.0.1]/"]
)
def test_an_allowed_address_has_one_spelling(url: str) -> None:
    """An odd spelling is refused where the address itself is allowed: two parsers could still disagree on it."""
    with pytest.raises(Invalid):
        Egress(["127.0.0.0/8"]).check_url(url)
