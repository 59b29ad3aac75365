"""Opens the outward connection of an allowed request for `proxy`: to the host itself, or by the user's own proxy.

To the host itself: the name is resolved here, once, every address is checked, and the connection goes to an address
that was checked. By the user's own proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY in this process's environment):
only the name is checked; which addresses it may lead to is up to that proxy.
"""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.allow_list import AllowList, Kind, is_local, join_authority, kind_of
from smol_kernel.executors.launchers.http_messages import Refusal, Request, read_head

Keep = Callable[[socket.socket], None]
"""Is told of a socket before it connects, and closes it in the end. Raises OSError if there shall be none any more."""


@dataclass(frozen=True)
class Opened:
    """An outward connection: its socket, bytes that were read from it already, and the headers that the proxy at its
    other end needs (None: the host itself, or a tunnel to it, is there)."""

    connection: socket.socket
    held: bytes = b""
    proxy_headers: dict[str, str] | None = None


@dataclass(frozen=True)
class _UsersProxy:
    host: str
    port: int
    headers: dict[str, str]


class WayOut:
    """Parameters: `allowed`, the hosts; `connect_seconds`, the time for one connection with all its attempts.

    Reads the user's own proxy from the environment. Raises ConfigError if that is not an http:// one.
    """

    def __init__(self, allowed: AllowList, connect_seconds: float) -> None:
        self._allowed, self._seconds = allowed, connect_seconds
        environment = getproxies_environment()
        self._proxies = {scheme: _users_proxy(environment, scheme) for scheme in ("http", "https")}

    def open(self, request: Request, keep: Keep) -> Opened:
        """The connection for `request`. Raises Refusal: 403 if the user did not allow it, 502 if it cannot be had."""
        kinds = self._allowed.kinds(request.host, request.port, tunnel=request.tunnel)
        if not kinds:
            usual = request.port == (443 if request.tunnel else 80)
            name = join_authority(request.host, None if usual else request.port)
            raise Refusal(
                403,
                f"{request.authority} is not an allowed host; the user can allow it with --allow-host {name}",
                f"{request.authority} is not among the hosts that this box may reach. The user can allow it: "
                f'--allow-host {name}, in Python allow_hosts=["{name}"].',
            )
        users = self._proxies["https" if request.tunnel else "http"]
        if users and not is_local(request.host) and not proxy_bypass(request.authority):
            return self._by_users_proxy(users, request, keep)
        return Opened(self._to_host(request, kinds, keep))

    def _to_host(self, request: Request, kinds: set[Kind], keep: Keep) -> socket.socket:
        addresses = _resolve(request.host, request.port)
        for _, address in addresses:
            if (kind := kind_of(address[0])) not in kinds:
                raise _not_public(request, kind)
        connection = _connect(addresses, request.authority, self._seconds, keep)
        ours, theirs = connection.getsockname()[0], connection.getpeername()[0]
        if ours == theirs and kind_of(theirs) == "public" and request.host != theirs:
            raise _not_public(request, "loopback")  # a public address, but this machine's own: behind its firewall
        return connection

    def _by_users_proxy(self, users: _UsersProxy, request: Request, keep: Keep) -> Opened:
        addresses = _resolve(users.host, users.port)
        connection = _connect(addresses, "the user's own proxy", self._seconds, keep)
        if not request.tunnel:
            return Opened(connection, proxy_headers=users.headers)
        connection.sendall(request.head(users.headers))
        try:
            head, held = read_head(connection, self._seconds)
        except (Refusal, ConnectionError):
            raise Refusal(502, "the user's own proxy did not answer") from None
        status = head[:12].partition(b" ")[2].decode("ascii", "replace")
        if not head.startswith(b"HTTP/1.") or not status.startswith("2"):
            raise Refusal(502, f"the user's own proxy refused {request.authority} with status {status!r}")
        return Opened(connection, held)


def _users_proxy(environment: dict[str, str], scheme: str) -> _UsersProxy | None:
    url = environment.get(scheme) or environment.get("all")
    if not url:
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if not host or parts.scheme != "http":
        raise ConfigError(
            f"the proxy for {scheme} in the environment ({scheme.upper()}_PROXY or ALL_PROXY) is not an http:// one, "
            "and hosts in allow_hosts cannot be reached by others; set an http:// proxy, or none"
        )
    headers: dict[str, str] = {}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(user).decode()}"
    return _UsersProxy(host, port, headers)


def _resolve(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    """The addresses of a host as (family, address for connect()), in the system's order."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        found = []
    addresses: list[tuple[int, tuple[str, int]]] = [
        (family, address)  # type: ignore[misc]
        for family, _, _, _, address in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    if not addresses:
        raise Refusal(502, f"no address was found for {host}")
    return addresses


def _connect(addresses: list[tuple[int, tuple[str, int]]], name: str, seconds: float, keep: Keep) -> socket.socket:
    """A connection to the first of the addresses that takes one, with a fair share of the time for each."""
    deadline = time.monotonic() + seconds
    why = ""
    for done, (family, address) in enumerate(addresses):
        connection = socket.socket(family, socket.SOCK_STREAM)
        keep(connection)
        connection.settimeout(max((deadline - time.monotonic()) / (len(addresses) - done), 0.01))
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            why = error.strerror or "it took too long"
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise Refusal(502, f"{name} cannot be reached: {why}")


def _not_public(request: Request, kind: Kind) -> Refusal:
    authority = request.authority
    remedy = f"only the address itself can be allowed, as --allow-host ADDRESS:{request.port}"
    if kind == "private" or (kind == "loopback" and is_local(request.host)):
        remedy = f"the user can allow it with --allow-host {authority}"
    where = "this machine" if kind == "loopback" else f"a {kind} address"
    return Refusal(403, f"{authority} leads to {where}, not to the public network; {remedy}")
