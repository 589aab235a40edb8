"""Which addresses and hosts may be called: the public internet, and what the deployment allows besides.

The tables are IANA's special-purpose registries (RFC 6890 and its updates, as of 2026), written out because
`ipaddress` of older Pythons lacks entries and calls some of them global.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_V4_LOCAL: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host; Linux connects 0.0.0.0 to loopback
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds put their metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Outside of 2000::/3 nothing is global but NAT64's well-known prefix: it leaves out loopback, mapped and compatible
# addresses, unique local, link-local, site-local, multicast, and all that is not assigned yet.
_V6_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_V6_LOCAL: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, withdrawn
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Prefixes whose last 32 bits are an IPv4 address: compatible, mapped, translated (SIIT), NAT64.
_V4_AT_THE_END: Final = (
    ipaddress.IPv6Network("::/96"),
    ipaddress.IPv6Network("::ffff:0:0/96"),
    ipaddress.IPv6Network("::ffff:0:0:0/96"),
    _NAT64,
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)
# Where clouds hand credentials to whoever asks. Some stand in networks that deployments allow (fd00::/8), one in the
# public ones, so each has to be allowed by itself, as a network of one address.
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, and most others
        "169.254.170.2",  # AWS, container credentials
        "169.254.170.23",  # AWS, pod identity
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, pod identity
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure, the host of a virtual machine
        "192.0.0.192",  # Oracle, older machines
        "fd00:42::42",  # Scaleway
        "fd00:c1::a9fe:a9fe",  # Oracle
    )
)
_LOOPBACK: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))

# Names that mean a local network by convention (RFC 6761, RFC 6762 appendix G, RFC 8375) or by ICANN's reservation.
_LOCAL_SUFFIXES: Final = (
    "local", "internal", "localdomain", "home.arpa", "lan", "intranet", "private", "corp", "home",
)  # fmt: skip
_LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# What parsers take for an IPv4 address: the last label is a number (WHATWG URL, "ends in a number").
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_OCTET: Final = r"(?:0|[1-9][0-9]{0,2})"
_DOTTED: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


class Refused(ValueError):
    """A host or URL that may not be called. `reason` goes on after "the address ..." or "url ..."."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AddressPolicy:
    """What may be called. `allow_private` are networks such as "10.0.0.0/8". Raises ValueError for one that is none."""

    def __init__(self, allow_private: Sequence[str] = ()) -> None:
        self._allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in allow_private)

    def permits(self, address: Address) -> bool:
        """Whether this address may be connected to. IPv4 addresses inside of it are judged as well."""
        if address in _METADATA:
            return any(network.num_addresses == 1 and address in network for network in self._allowed)
        if not (_is_global(address) or any(address in network for network in self._allowed)):
            return False
        return all(self.permits(inner) for inner in _embedded(address))

    def check_host(self, host: str) -> None:
        """Whether a host, as a URL parser left it (ASCII, lower case, no brackets), may be configured. Asks no DNS.

        Raises Refused for a local address in any spelling, for a local name, and for what is no host.
        """
        address = parse_address(host)
        if address is not None:
            if not self.permits(address):
                raise Refused("names a private or local address; it may name a public host")
            return
        if host.endswith("."):
            raise Refused("has a host that ends in a dot; leave the dot away")
        if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
            raise Refused("has a host that is not a name; it may be a name such as hooks.example.com, or an address")
        if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
            allowed = any(self.permits(address) for address in _LOOPBACK)
        else:
            # A local name may well be what `allow_private` was set for: what it resolves to decides.
            local = "." not in host or any(host.endswith(f".{suffix}") for suffix in _LOCAL_SUFFIXES)
            allowed = bool(self._allowed) or not local
        if not allowed:
            raise Refused("names a host of a local network; it may name a public host")


def parse_address(host: str) -> Address | None:
    """The address a host is, or None for a name.

    Raises Refused for an address in a spelling that parsers read differently: 127.1, 0x7f000001, 2130706433, a zone.
    """
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise Refused("has a host that is not an IPv6 address") from None
        if address.scope_id is not None:
            raise Refused("has an IPv6 address with a zone; leave the zone away")
        return address
    if not _NUMERIC.fullmatch(host):
        return None
    if _DOTTED.fullmatch(host):
        try:
            return ipaddress.IPv4Address(host)
        except ValueError:  # a number above 255
            pass
    raise Refused("writes an IP address in an unusual way; write it as four decimal numbers with dots between")


def _is_global(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _V4_LOCAL)
    if address in _NAT64:
        return True  # as global as the IPv4 address inside, which is judged as well
    return address.is_global and address in _V6_GLOBAL and not any(address in network for network in _V6_LOCAL)


def _embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that a relay or translator may take an IPv6 address for."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    if number > 1 and any(address in network for network in _V4_AT_THE_END):
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (number >> 32) & 0xFDFFFFFF == 0x00005EFE:  # ISATAP, RFC 5214: 0000:5efe or 0200:5efe before the address
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
