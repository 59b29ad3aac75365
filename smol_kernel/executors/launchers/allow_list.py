"""Which hosts a box may reach through its proxy (`proxy`), and which kinds of address those may lead to.

The blocks of addresses are those of IANA's special-purpose registries (RFC 6890 and its updates), and the addresses at
which clouds answer their own machines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from smol_kernel.errors import ConfigError

Kind = Literal["public", "private", "loopback", "special"]
"""Of an address: "private" is an organisation's own network, "special" is whatever else is not public: link-local,
metadata services of clouds, multicast, documentation, reserved."""

_NAME = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")


def _blocks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


_CLOUD = _blocks("100.100.100.200", "168.63.129.16", "fd00:ec2::/32", "fd20:ce::254")
_LOOPBACK = _blocks("127.0.0.0/8", "::1")
_PRIVATE = _blocks("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_SPECIAL_4 = _blocks("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15")
_SPECIAL_4_MORE = _blocks("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3")
_SPECIAL_6 = _blocks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
_PUBLIC = _blocks("0.0.0.0/0", "2000::/3")
_BLOCKS: tuple[tuple[Kind, tuple[IPv4Network | IPv6Network, ...]], ...] = (  # the first that holds an address tells
    ("special", _CLOUD),
    ("loopback", _LOOPBACK),
    ("private", _PRIVATE),
    ("special", _SPECIAL_4 + _SPECIAL_4_MORE + _SPECIAL_6),
    ("public", _PUBLIC),
)
_NAT64 = ip_network("64:ff9b::/96")


def kind_of(address: str) -> Kind:
    """The kind of an IP address. One with an IPv4 address inside (IPv4-mapped, NAT64) is of that one's kind."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip)
    for kind, blocks in _BLOCKS:
        if any(ip in block for block in blocks):
            return kind
    return "special"


def split_authority(text: str) -> tuple[str, int | None]:
    """Host and port of `NAME`, `NAME:PORT`, `1.2.3.4:PORT` or `[IPv6]:PORT`, the host in its one usual spelling.

    Raises ValueError if it is none of these.
    """
    match = _AUTHORITY.fullmatch(text.lower())
    if not match:
        raise ValueError(f"{text!r} is no host")
    host, port = match[1], None if match[2] is None else int(match[2])
    if port is not None and not 0 < port < 65_536:
        raise ValueError(f"{text!r}: ports are 1 to 65535")
    if host.startswith("["):
        return str(IPv6Address(host[1:-1])), port
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} is no host")
    return host, port


def join_authority(host: str, port: int | None = None) -> str:
    """HOST or HOST:PORT, an IPv6 address in brackets."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def is_address(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """Whether `host` means this machine itself by its name or address: localhost, 127.0.0.1, ::1."""
    return host == "localhost" or host.endswith(".localhost") or (is_address(host) and kind_of(host) == "loopback")


@dataclass(frozen=True)
class _Entry:
    """One line of the list: a host, or all names below it, at one port or at the usual ones."""

    host: str
    below: bool
    port: int | None

    def matches(self, host: str, port: int, usual_port: int) -> bool:
        if port != (self.port or usual_port):
            return False
        return host.endswith(f".{self.host}") and not is_address(host) if self.below else host == self.host

    def kinds(self) -> set[Kind]:
        if is_address(self.host) and not self.below:
            return {kind_of(self.host)}
        if self.port is None or self.below:
            return {"public"}
        return {"loopback"} if is_local(self.host) else {"public", "private"}


class AllowList:
    """The hosts a user allows. Parameters: `hosts`, each one of:

    - `example.org`: that name, plain http at port 80 and tunnels (https) at port 443, only where it leads to public
      addresses;
    - `*.example.org`: the same for all names below it (not for itself);
    - `example.org:8443`: at that port only, plain http and tunnels; the port makes it explicit, so the name may also
      lead into a private network (`gitlab.corp:8443`), but not to this machine nor to a special address, whatever
      who runs the name's DNS may say;
    - `*.example.org:8443`: names below at that port, public addresses only;
    - `localhost:8000`: this machine;
    - `10.1.2.3`, `127.0.0.1:8000`, `[::1]:8000`: that very address, of whichever kind.

    Raises ConfigError, which names the entry that is none of these.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._entries = tuple(_read_entry(host) for host in hosts)

    def kinds(self, host: str, port: int, *, tunnel: bool) -> set[Kind]:
        """The kinds of address that `host` at `port` may lead to; none if it is not on the list."""
        usual = 443 if tunnel else 80
        return {kind for entry in self._entries if entry.matches(host, port, usual) for kind in entry.kinds()}


def _read_entry(text: str) -> _Entry:
    below = text.startswith("*.")
    try:
        host, port = split_authority(text[2:] if below else text)
    except ValueError:
        raise ConfigError(
            f"allow_hosts {text!r}: give the name of a host, such as example.org or *.example.org:8443"
        ) from None
    return _Entry(host, below, port)
