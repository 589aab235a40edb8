"""URLs that must never be reached: what attackers write to make a server call its own network.

`URLS` is the corpus with port 80; `attacks(port)` has it with another one, for a listening sink. `STATIC_URLS` are
those that can be told without DNS, so every place where a URL is configured has to refuse them. The others are names:
`lookup` answers for them as a hostile DNS server would. They end in `.test`, which no real one knows (RFC 6761).

After the test corpora of WHATWG URL, SSRF bypass lists (PayloadsAllTheThings, OWASP), Orange Tsai's "A New Era of
SSRF", and CVEs of clients whose parsers disagreed.
"""

import ipaddress
import random
from collections.abc import Iterator
from typing import Final, NamedTuple


class Attack(NamedTuple):
    """One URL. `static`: it can be refused without asking DNS."""

    family: str
    url: str
    static: bool = True


# Addresses that mean something inside a network: loopback, this host, private ones, metadata, carrier NAT, broadcast.
TARGETS: Final = (
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.0.0.5",
    "172.16.4.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
)
# The first and the last address of every IPv4 block that is not public, and single ones that clouds use.
V4_EDGES: Final = (
    "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0",
    "127.255.255.255", "169.254.0.0", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.9",
    "192.0.0.10", "192.0.0.170", "192.0.0.192", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.0.0",
    "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "224.0.0.251",
    "239.255.255.250", "239.255.255.255", "240.0.0.1", "255.255.255.254", "255.255.255.255", "168.63.129.16",
    "169.254.170.2", "169.254.170.23",
)  # fmt: skip
V6_LOCAL: Final = (
    "::", "::1", "0:0:0:0:0:0:0:1", "0000:0000:0000:0000:0000:0000:0000:0001", "::2", "::0001", "100::1", "2001::1",
    "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2001:DB8::A", "3fff::1", "4000::1", "5f00::1",
    "64:ff9b:1::1", "8000::1", "fc00::1", "fd00::1", "fd00:ec2::254", "FD00:EC2::254", "fd00:ec2::23", "fd20:ce::254",
    "fd00:42::42", "fd12:3456:789a:1::1", "fe80::1", "fe80::a9fe:a9fe", "febf::1", "fec0::1", "ff01::1", "ff02::1",
    "ff05::1:3", "ff0e::1",
)  # fmt: skip
LOCAL_NAMES: Final = (
    "localhost", "LOCALHOST", "LocalHost", "localhost.", "localhost.localdomain", "foo.localhost", "a.b.localhost",
    "ip6-localhost", "ip6-loopback", "redis", "postgres", "n8n", "metadata", "kubernetes", "printer.local",
    "metadata.google.internal", "METADATA.google.internal", "instance-data.ec2.internal", "host.docker.internal",
    "kubernetes.default.svc.cluster.local", "router.lan", "nas.home.arpa", "git.corp", "wiki.intranet", "db.private",
    "loc\u0430lhost", "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3", "local\u00adhost", "local\u200bhost", "localhost\u3002",
    "local%68ost", "localhost%00.hooks.example.com",
)  # fmt: skip
_CIRCLED: Final = "\u24ea\u2460\u2461\u2462\u2463\u2464\u2465\u2466\u2467\u2468"
# Names that anybody can register, with a private answer in the public DNS.
NAMES: Final = {
    "a-record.evil.test": ["127.0.0.1"],
    "any.evil.test": ["0.0.0.0"],
    "v6.evil.test": ["::1"],
    "unspecified6.evil.test": ["::"],
    "private.evil.test": ["10.0.0.5"],
    "home.evil.test": ["192.168.1.1"],
    "docker.evil.test": ["172.17.0.1"],
    "metadata.evil.test": ["169.254.169.254"],
    "metadata6.evil.test": ["fd00:ec2::254"],
    "alibaba.evil.test": ["100.100.100.200"],
    "azure.evil.test": ["168.63.129.16"],
    "cgnat.evil.test": ["100.64.0.1"],
    "mapped.evil.test": ["::ffff:127.0.0.1"],
    "compatible.evil.test": ["::127.0.0.1"],
    "translated.evil.test": ["::ffff:0:127.0.0.1"],
    "nat64.evil.test": ["64:ff9b::127.0.0.1"],
    "nat64-metadata.evil.test": ["64:ff9b::169.254.169.254"],
    "nat64-local.evil.test": ["64:ff9b:1::127.0.0.1"],
    "sixtofour.evil.test": ["2002:7f00:1::1"],
    "teredo.evil.test": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "isatap.evil.test": ["2606:4700::5efe:127.0.0.1"],
    "linklocal.evil.test": ["fe80::1%1"],
    "unique-local.evil.test": ["fd12:3456::1"],
    "sitelocal.evil.test": ["fec0::1"],
    "multicast.evil.test": ["224.0.0.251"],
    "multicast6.evil.test": ["ff02::fb"],
    "broadcast.evil.test": ["255.255.255.255"],
    "reserved.evil.test": ["240.0.0.1"],
    "benchmark.evil.test": ["198.18.0.1"],
    # One public address among the answers does not make the others right, wherever it stands.
    "first-public.evil.test": ["93.184.215.14", "127.0.0.1"],
    "last-public.evil.test": ["127.0.0.1", "93.184.215.14"],
    "public-and-v6.evil.test": ["93.184.215.14", "2606:4700::1111", "::1"],
    "127.0.0.1.nip.test": ["127.0.0.1"],
    "7f000001.nip.test": ["127.0.0.1"],
    "169-254-169-254.sslip.test": ["169.254.169.254"],
    "localtest.evil.test": ["127.0.0.1", "::1"],
    "xn--lcalhost-n1a.test": ["127.0.0.1"],
    "_underscore.evil.test": ["127.0.0.1"],
}


async def lookup(host: str) -> list[str]:
    """The hostile DNS server: private addresses for `NAMES`, and no other name is known."""
    if host not in NAMES:
        raise OSError(f"no such name: {host}")
    return NAMES[host]


def attacks(port: int) -> list[Attack]:
    """The whole corpus, each URL once, with `port` where the URL does not need one of its own."""
    found: dict[str, Attack] = {}
    for attack in _all(port):
        found.setdefault(attack.url, attack)
    return list(found.values())


def _all(port: int) -> Iterator[Attack]:
    for target in TARGETS:
        for family, host in (*_v4_spellings(target), *_v6_around(target)):
            yield Attack(family, f"http://{host}:{port}/")
    for host in V4_EDGES:
        yield Attack("IPv4 range", f"http://{host}:{port}/")
    for host in V6_LOCAL:
        yield Attack("IPv6 range", f"http://[{host}]:{port}/")
    for host in LOCAL_NAMES:
        yield Attack("local name", f"http://{host}:{port}/")
    for url in _written_by_hand(port):
        yield Attack("parser", url)
    for url in _schemes(port):
        yield Attack("scheme", url)
    for host in NAMES:
        yield Attack("private DNS", f"http://{host}:{port}/", static=False)
        yield Attack("private DNS", f"https://{host.upper()}:{port}/latest/meta-data?x=1", static=False)


def _v4_spellings(address: str) -> Iterator[tuple[str, str]]:
    """Every way in which a C library, a browser or a curl has been seen to read an IPv4 address."""
    number = int(ipaddress.IPv4Address(address))
    a, b, c, d = (int(part) for part in address.split("."))
    yield "plain", address
    yield "trailing dot", f"{address}."
    yield "decimal", f"{number}"
    yield "decimal", f"0{number}"
    yield "hex", f"{number:#x}"
    yield "hex", f"0X{number:08X}"
    yield "hex", f"0x00000000{number:08x}"
    yield "octal", f"0{number:o}"
    yield "octal", f"000000{number:o}"
    yield "dotted hex", ".".join(f"{part:#x}" for part in (a, b, c, d))
    yield "dotted octal", ".".join(f"0{part:o}" for part in (a, b, c, d))
    yield "dotted octal", ".".join(f"{part:04o}" for part in (a, b, c, d))
    yield "leading zeros", ".".join(f"{part:03d}" for part in (a, b, c, d))
    yield "short", f"{a}.{number & 0xFFFFFF}"
    yield "short", f"{a}.{b}.{number & 0xFFFF}"
    yield "short hex", f"{a:#x}.{number & 0xFFFFFF:#x}"
    yield "mixed", f"{a:#x}.{b}.0{c:o}.{d}"
    yield "mixed", f"0{a:o}.{b:#x}.{number & 0xFFFF}"
    yield "overflow", f"{number + 2**32}"
    yield "overflow", f"{a + 256}.{b}.{c}.{d}"
    yield "fullwidth", "".join(chr(0xFF10 + int(char)) if char.isdigit() else char for char in address)
    yield "circled", "".join(_CIRCLED[int(char)] if char.isdigit() else char for char in address)
    yield "mathematical", "".join(chr(0x1D7CE + int(char)) if char.isdigit() else char for char in address)
    yield "arabic digits", "".join(chr(0x0660 + int(char)) if char.isdigit() else char for char in address)
    yield "ideographic dots", address.replace(".", "\u3002")
    yield "fullwidth dots", address.replace(".", "\uff0e")
    yield "percent", "".join(f"%{ord(char):02x}" for char in address)
    yield "percent", address.replace(".", "%2e")


def _v6_around(address: str) -> Iterator[tuple[str, str]]:
    """IPv6 addresses that hold this IPv4 address, for a translator, a relay or the socket layer to unpack."""
    number = int(ipaddress.IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    inverted = number ^ 0xFFFFFFFF
    yield "mapped", f"[::ffff:{address}]"
    yield "mapped", f"[::FFFF:{high:x}:{low:x}]"
    yield "mapped", f"[0:0:0:0:0:ffff:{high:04x}:{low:04x}]"
    yield "compatible", f"[::{address}]"
    yield "compatible", f"[::{high:x}:{low:x}]"
    yield "translated", f"[::ffff:0:{address}]"
    yield "NAT64", f"[64:ff9b::{address}]"
    yield "NAT64", f"[64:ff9b::{high:x}:{low:x}]"
    yield "NAT64", f"[0064:ff9b:0:0:0:0:{high:04x}:{low:04x}]"
    yield "local NAT64", f"[64:ff9b:1::{address}]"
    yield "local NAT64", f"[64:ff9b:1:fffe::{high:x}:{low:x}]"
    yield "6to4", f"[2002:{high:x}:{low:x}::]"
    yield "6to4", f"[2002:{high:x}:{low:x}:1::1]"
    yield "Teredo", f"[2001:0:4136:e378:8000:63bf:{inverted >> 16:x}:{inverted & 0xFFFF:x}]"
    yield "Teredo", f"[2001:0:{high:x}:{low:x}:0:0:a2f1:52eb]"
    yield "ISATAP", f"[fe80::5efe:{address}]"
    yield "ISATAP", f"[2606:4700::200:5efe:{address}]"


def _written_by_hand(port: int) -> Iterator[str]:
    """Userinfo, backslashes, blanks, zones, ports: where two parsers take another host each."""
    here, public = f"127.0.0.1:{port}", "hooks.example.com"
    yield from (
        f"http://{public}@{here}/", f"http://{public}:80@{here}/", f"http://{public}%40{here}/",
        f"http://user:secret@{here}/", f"http://@{here}/", f"http://:@{here}/", f"http://:secret@{here}/",
        f"http://{here}@{here}/", f"http://{here}:80@{here}:80/", f"http://{here} @{public}/",
        f"http://{public} @{here}/", f"http://{public}#@{here}/", f"http://{here}#@{public}/",
        f"http://{here}?@{public}/", f"http://{public}\\@{here}/", f"http://{here}\\@{public}/",
        f"http://{here}\\.{public}/", f"http:\\\\{here}\\", f"http:/\\{here}/", f"http:\\/{here}/",
        f"http://{here};@{public}/", f"http://{here},@{public}/", f"http://{public}\uff20{here}/",
        f"http://{here}\uff03@{public}/", f"http://{here}\uff0f.{public}/", f"http://{here}\u2044.{public}/",
        f"http://{here}\u2028/", f"http://{here}\u00a0/", f"http://\u200b{here}/", f"http://{here}\u202e/",
        f"http://[{here}]/", f"http://[127.0.0.1]:{port}/", "http://[::1/", f"http://::1:{port}/",
        f"http://[::1]{port}/", f"http://[::1].{public}/", f"http://[::1]:{port}@{public}/",
        f"http://[::1%25lo]:{port}/", f"http://[::1%lo]:{port}/", f"http://[fe80::1%25eth0]:{port}/",
        f"http://[::1%00]:{port}/", f"http://[::ffff:127.1]:{port}/", f"http://[::ffff:0x7f.0.0.1]:{port}/",
        f"http://[v1.127.0.0.1]:{port}/", f"http://[::1]]:{port}/", f"http://[[::1]]:{port}/", f" http://{here}/",
        f"http://{here}/ ", f"\thttp://{here}/", f"ht\ntp://{here}/", f"http:\n//{here}/",
        f"http://127.0.\t0.1:{port}/", f"http://127.0.0.1\r\n:{port}/", f"http://127.0.0.1\x00:{port}/",
        f"http://\x00127.0.0.1:{port}/", f"http://127.0.0.1\x7f:{port}/",
        f"http://{here}/\r\nHost: {public}\r\n\r\nGET /", f"http://{here}/\nX-Evil: 1", f"http://{here}/a b",
        "http://127.0.0.1:/", "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:-1/",
        "http://127.0.0.1:+80/", "http://127.0.0.1:8_0/", "http://127.0.0.1:\u0668\u0660/", "http://127.0.0.1:0x50/",
        "http://127.0.0.1:80:80/", "http://127.0.0.1:80a/", f"http:{here}/", f"http:/{here}/", f"http:///{here}/",
        f"http:////{here}/", f"https:{here}/", f"//{here}/", f"///{here}/", here, f"{here}/", "", "http://",
        "http:///", "http://.:80/", "http://..:80/", f"http://.{here}/", f"http://127..0.0.1:{port}/",
        f"http://127.0.0.1..:{port}/", f"http://0:{port}/", f"http://00:{port}/", f"http://0x:{port}/",
        f"http://0x0:{port}/", f"http://0.0:{port}/", f"http://0.0.0:{port}/", f"http://1:{port}/",
        f"http://127.1:{port}/", f"http://127.0.1:{port}/", f"http://0x7f.1:{port}/", f"http://0177.1:{port}/",
        f"http://127.0.0.0x1:{port}/", f"http://127.0.0.01:{port}/", f"http://127.000.000.001:{port}/",
        f"http://127.0.0.1.:{port}/", f"http://127.0.0.1%20:{port}/", f"http://127.0.0.1%2f.{public}:{port}/",
        f"http://127.0.0.1%23.{public}:{port}/", f"http://127.0.0.1%09.{public}:{port}/",
        f"http://%31%32%37.0.0.1:{port}/", f"http://%5b::1%5d:{port}/", f"HTTP://{here}/", f"HtTpS://{here}/",
        f"http://{here}/latest/meta-data/", f"https://{here}/?next=https://{public}/",
        f"http://{'a' * 300}.test:{port}/", f"http://-{public}:{port}/", f"http://{public}-:{port}/",
        f"http://{public}./", f"http://a b.{public}/", f"http://*.{public}/", f"http://{here}/{{id}}",
        f"http://{{host}}:{port}/", f"http://$(hostname):{port}/", f"http://`id`:{port}/", f"http://<{here}>/",
        f"http://169.254.169.254:{port}/latest/api/token", f"http://169.254.170.2:{port}/v2/credentials",
        f"http://2852039166:{port}/latest/", f"http://0xa9fea9fe:{port}/", f"http://0251.0376.0251.0376:{port}/",
        f"http://169.254.43518:{port}/", f"http://169.16689662:{port}/", f"http://425.510.425.510:{port}/",
        f"http://[::ffff:a9fe:a9fe]:{port}/", f"http://[fd00:ec2:0::254]:{port}/latest/",
    )  # fmt: skip
    # Any number that is a loopback address. The generator is seeded: the same URLs every time.
    chance = random.Random(127)
    for _ in range(20):
        address = ipaddress.IPv4Address(0x7F000000 + chance.randrange(1, 2**24))
        yield f"http://{address}:{port}/"
        yield f"http://{int(address)}:{port}/"
        yield f"http://[::ffff:{address}]:{port}/"


def _schemes(port: int) -> Iterator[str]:
    """Other ways out than HTTP, which many clients know."""
    here = f"127.0.0.1:{port}"
    for scheme in (
        "ftp", "ftps", "sftp", "tftp", "gopher", "dict", "ldap", "ldaps", "telnet", "smtp", "imap", "pop3", "rtsp",
        "smb", "ws", "wss", "redis", "postgresql", "mysql", "unix", "http+unix", "tcp", "udp", "ssh", "git", "svn",
        "php", "h2c", "httpx", "hxxp", "http2", "view-source", "feed", "s3", "x",
    ):  # fmt: skip
        yield f"{scheme}://{here}/"
    yield from (
        "file:///etc/passwd", "file://localhost/etc/passwd", f"file://{here}/etc/passwd", "data:text/plain,x",
        "javascript:alert(1)", f"jar:http://{here}!/", f"view-source:http://{here}/", f"url:http://{here}/",
        f"netdoc://{here}/", "about:blank", "unix:/var/run/docker.sock",
        f"http+unix://%2Fvar%2Frun%2Fdocker.sock:{port}/info", "mailto:root@localhost", "blob:x",
    )  # fmt: skip


URLS: Final = tuple(attack.url for attack in attacks(80))
STATIC_URLS: Final = tuple(attack.url for attack in attacks(80) if attack.static)
