"""What a box reaches through its proxy: the list, the addresses, the user's own proxy, a real network namespace."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import subprocess
import sys

import httpx
import pytest
from proxy_ends import (
    by_urllib,
    connected,
    echo,
    everything,
    no_proxy_of_the_machine,
    proxied,
    raw_server,
    read_until,
    say,
    tunnel,
)
from web_server import Answer, WebServer

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.allow_list import AllowList, kind_of
from smol_kernel.executors.launchers.proxy import REFUSED_KEPT, AllowProxy

__all__ = ["no_proxy_of_the_machine"]
pytestmark = pytest.mark.usefixtures("no_proxy_of_the_machine")


@pytest.mark.parametrize(
    ("entry", "asked", "tunnel", "kinds"),
    [
        ("example.org", "example.org:80", False, {"public"}),
        ("Example.ORG.", "example.org:443", True, {"public"}),
        ("example.org", "example.org:443", False, set()),
        ("example.org", "example.org:80", True, set()),
        ("example.org", "example.org:22", True, set()),
        ("example.org", "www.example.org:443", True, set()),
        ("example.org", "notexample.org:443", True, set()),
        ("example.org", "example.org.evil.net:443", True, set()),
        ("*.example.org", "a.b.example.org:443", True, {"public"}),
        ("*.example.org", "example.org:443", True, set()),
        ("*.example.org", "aexample.org:443", True, set()),
        ("*.example.org:8443", "a.example.org:8443", True, {"public"}),
        ("*.0.0.1", "127.0.0.1:443", True, set()),
        ("example.org:8443", "example.org:8443", False, {"public", "private"}),
        ("example.org:8443", "example.org:443", True, set()),
        ("localhost", "localhost:80", False, {"public"}),
        ("localhost:8000", "localhost:8000", True, {"loopback"}),
        ("127.0.0.1:8000", "127.0.0.1:8000", False, {"loopback"}),
        ("10.1.2.3", "10.1.2.3:443", True, {"private"}),
        ("[0::1]:8000", "::1:8000", False, {"loopback"}),
        ("169.254.169.254", "169.254.169.254:80", False, {"special"}),
    ],
)
def test_entries_of_the_list(entry, asked, tunnel, kinds):
    host, _, port = asked.rpartition(":")
    assert AllowList([entry]).kinds(host, int(port), tunnel=tunnel) == kinds


@pytest.mark.parametrize(
    "entry",
    ["", "*", "http://example.org", "a b", "example.org:", "example.org:0", "example.org:70000", "[::1", "a..b"],
)
def test_an_entry_that_is_no_host_is_named(entry):
    with pytest.raises(ConfigError, match="allow_hosts '") as raised:
        AllowList(["fine.example", entry])
    assert repr(entry) in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("public", "8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8"),
        ("loopback", "127.0.0.1 127.1.2.3 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1"),
        ("private", "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 fd12::1 ::ffff:10.0.0.1"),
        ("private", "64:ff9b::192.168.0.1"),
        ("special", "0.0.0.0 169.254.169.254 169.254.0.1 224.0.0.1 255.255.255.255 240.0.0.1 192.0.2.1 198.18.0.1"),
        (
            "special",
            ":: fe80::1 fe80::1%eth0 ff02::1 fec0::1 ::127.0.0.1 2001:db8::1 2001::1 2002:7f00:1:: 64:ff9b:1::1",
        ),
        ("special", "::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 100.100.100.200 168.63.129.16 fd00:ec2::254"),
    ],
)
def test_kinds_of_address(kind, addresses):
    assert {address: kind_of(address) for address in addresses.split()} == dict.fromkeys(addresses.split(), kind)


def test_what_is_not_on_the_list_is_refused_and_recorded():
    told = []
    with proxied("good.example", told=told.append) as proxy:
        answer = say(proxy, "GET http://evil.example/x HTTP/1.1\r\nHost: good.example\r\n\r\n")
        assert answer.startswith("HTTP/1.1 403 evil.example:80 is not an allowed host")
        assert "The user can allow it: --allow-host evil.example," in answer
        assert "--allow-host evil.example:8443, in Python" in say(proxy, "CONNECT evil.example:8443 HTTP/1.1\r\n\r\n")
        with pytest.raises(OSError, match=r"403 evil.example:443 is not an allowed host.*--allow-host evil.example"):
            by_urllib(proxy).open("https://evil.example/")
        address = f"http://127.0.0.1:{proxy.port}"
        with pytest.raises(httpx.ProxyError, match=r"403 evil.example:443 .*--allow-host"):
            httpx.get("https://evil.example/", proxy=address, trust_env=False)
        assert told == ["evil.example:80", "evil.example:8443", "evil.example:443"]


def test_the_record_of_refusals_is_bounded():
    told = []
    with proxied(told=told.append) as proxy:
        for number in range(REFUSED_KEPT + 7):
            say(proxy, f"CONNECT host{number}.example:443 HTTP/1.1\r\n\r\n")
        assert len(told) == REFUSED_KEPT


def test_a_name_that_leads_to_this_machine_is_refused():
    with proxied("localhost") as proxy:
        answer = say(proxy, "CONNECT localhost:443 HTTP/1.1\r\n\r\n")
        assert answer.startswith("HTTP/1.1 403 localhost:443 leads to this machine, not to the public network")
        assert "--allow-host localhost:443" in answer


@pytest.mark.parametrize(
    ("entry", "addresses", "why"),
    [
        ("host.example", ["93.184.215.14", "127.0.0.1"], "leads to this machine"),  # rebinding
        ("host.example", ["10.0.0.1"], "leads to a private address.* --allow-host host.example:80"),
        ("host.example:80", ["127.0.0.1"], "leads to this machine.*only the address itself"),
        ("host.example:80", ["10.0.0.1", "169.254.169.254"], "leads to a special address"),
        ("host.example", ["::ffff:127.0.0.1"], "leads to this machine"),
    ],
)
def test_every_address_of_a_name_is_checked(monkeypatch, entry, addresses, why):
    asked = []

    def getaddrinfo(host, port, *args, **options):
        asked.append(host)
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(f, socket.SOCK_STREAM, 6, "", (a, port)) for f, a in zip(families, addresses, strict=True)]

    with proxied(entry) as proxy, connected(proxy) as client:
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        client.sendall(b"GET http://host.example/ HTTP/1.1\r\n\r\n")
        answer = everything(client).decode().partition("\r\n")[0]
        monkeypatch.undo()
    assert answer.startswith("HTTP/1.1 403 host.example:80 ")
    assert re.search(why, answer)
    assert asked == ["host.example"]


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    """The name is resolved once: its second answer, another server, is never asked for."""
    resolve = socket.getaddrinfo
    with WebServer() as right, WebServer() as wrong:
        right["/"], wrong["/"] = Answer("right"), Answer("wrong")
        right_port, wrong_port = (int(web.url().rpartition(":")[2].rstrip("/")) for web in (right, wrong))
        answers = iter([right_port, wrong_port])

        def getaddrinfo(host, port, *args, **options):
            return resolve("127.0.0.1", next(answers), *args, **options)

        with proxied("localhost:81") as proxy, connected(proxy) as client:
            monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
            client.sendall(b"GET http://localhost:81/ HTTP/1.1\r\n\r\n")
            assert everything(client).endswith(b"right")
            monkeypatch.undo()
        assert next(answers) == wrong_port and not wrong.requests


# The user's own proxy


def test_the_users_own_proxy_carries_what_is_on_the_list(monkeypatch):
    """Names are not resolved here then: these exist nowhere."""
    got = []

    def serve(connection):
        head = read_until(connection, b"\r\n\r\n")
        got.append(head.decode())
        if head.startswith(b"CONNECT"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nfirst ")
            echo(connection)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nplain")

    with raw_server(serve) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%65r:p%40ss@127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
        with proxied("*.example.invalid", "b.example.invalid:81") as proxy:
            with tunnel(proxy, "a.example.invalid:443") as client:
                client.sendall(b"second")
                client.shutdown(socket.SHUT_WR)
                assert everything(client) == b"first second"
            request = "GET http://b.example.invalid:81/x?y HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\n\r\n"
            assert say(proxy, request).endswith("\r\nConnection: close\r\n\r\nplain")
            assert say(proxy, "CONNECT evil.invalid:443 HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 403 ")
    credentials = base64.b64encode(b"user:p@ss").decode()
    authority = "a.example.invalid:443"
    assert got == [
        f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n",
        "GET http://b.example.invalid:81/x?y HTTP/1.1\r\nHost: b.example.invalid:81\r\nConnection: close\r\n\r\n",
    ]


def test_the_users_own_proxy_is_not_asked_for_this_machine_nor_for_no_proxy(monkeypatch):
    with WebServer() as users, WebServer() as web:
        web["/"] = Answer("straight")
        monkeypatch.setenv("ALL_PROXY", users.url())
        monkeypatch.setenv("NO_PROXY", "nowhere.invalid")
        with proxied(web.url().split("/")[2], "nowhere.invalid", "elsewhere.invalid") as proxy:
            assert say(proxy, f"GET {web.url()} HTTP/1.1\r\n\r\n").endswith("straight")
            assert "502 no address" in say(proxy, "CONNECT nowhere.invalid:443 HTTP/1.1\r\n\r\n")
            refused = "502 the user's own proxy refused elsewhere.invalid:443 with status '403'"
            assert refused in say(proxy, "CONNECT elsewhere.invalid:443 HTTP/1.1\r\n\r\n")
        assert not users.requests


@pytest.mark.parametrize(
    "url", ["socks5://127.0.0.1:1080", "https://user:secret@proxy.example", "http://", "http://a:b"]
)
def test_a_proxy_of_the_user_that_cannot_be_used_is_told_at_once(monkeypatch, url):
    monkeypatch.setenv("HTTPS_PROXY", url)
    listener = socket.socket()
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as raised:
        AllowProxy(listener, ["example.org"])
    assert "secret" not in str(raised.value) and listener.fileno() == -1


# A network namespace of its own, as a box has one

NAMESPACE = """
import ctypes, fcntl, os, socket, struct, sys, urllib.request
if ctypes.CDLL(None).unshare(0x40000000 | (0x10000000 if os.getuid() else 0)):  # a network, and as a user a user one
    sys.exit("no namespaces here")
def set_up(name, address=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if address:  # SIOCSIFADDR
            fcntl.ioctl(control, 0x8916, struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(address)))
        fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", name, 0x41))  # SIOCSIFFLAGS: up, running
set_up(b"lo")
"""


def in_namespace(code: str, *arguments: str, **options):
    """That code in a Python of its own, in a network namespace of its own with nothing but a loopback in it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", NAMESPACE + code, *arguments], **pipes, **options)


def ended(process, said: str = "") -> str:
    """What it printed, after it was told `said`."""
    out, err = process.communicate(said)
    assert not process.returncode, err
    return out


def test_a_listener_from_another_network_namespace_is_the_only_way_out():
    code = """
listener = socket.create_server(("127.0.0.1", 0))
proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
with socket.socket(fileno=int(sys.argv[1])) as passing:
    socket.send_fds(passing, [b"x"], [listener.fileno()])
listener.close()
url = sys.stdin.readline().strip()
print(urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy})).open(url).read())
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)
except OSError as error:
    print(error.reason.strerror)
"""
    with WebServer() as web, contextlib.ExitStack() as stack:
        web["/"] = Answer("out")
        ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
        process = stack.enter_context(in_namespace(code, str(theirs.fileno()), pass_fds=[theirs.fileno()]))
        theirs.close()
        _, received, _, _ = socket.recv_fds(ours, 1, 1)
        if not received:
            ended(process)
        proxy = AllowProxy(socket.socket(fileno=received[0]), [web.url().split("/")[2]])
        stack.callback(proxy.close)
        proxy.start()
        assert ended(process, web.url() + "\n") == "b'out'\nConnection refused\n"


def test_a_public_address_that_is_this_machines_own_is_refused():
    """Else a name could lead past the firewall to services that only this machine reaches."""
    code = """
from smol_kernel.executors.launchers.proxy import AllowProxy, ProxyLimits
set_up(b"lo:1", "93.184.215.14")
server = socket.create_server(("93.184.215.14", 80))
listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
socket.getaddrinfo = lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))]
proxy = AllowProxy(listener, ["host.example"], limits=ProxyLimits(idle_seconds=1))
proxy.start()
client = socket.socket()
client.connect(address)
client.sendall(b"GET http://host.example/ HTTP/1.1\\r\\n\\r\\n")
print(client.makefile().readline())
proxy.close()
"""
    with in_namespace(code) as process:
        assert ended(process).startswith("HTTP/1.1 403 host.example:80 leads to this machine")
