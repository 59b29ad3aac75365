"""The proxy through which a box reaches the allowed hosts: what it reads and rewrites, and that it holds out."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import tracemalloc
import urllib.error
import urllib.request

import httpx
import pytest
from proxy_ends import (
    PIECE,
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
from web_server import Answer, Cut, Endless, Silent, WebServer, unreachable_address, unused_address

from smol_kernel.executors.launchers.proxy import AllowProxy

__all__ = ["no_proxy_of_the_machine"]
pytestmark = pytest.mark.usefixtures("no_proxy_of_the_machine")

MEBIBYTES = 48


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_urllib_and_httpx_reach_an_allowed_host(name):
    with WebServer() as web:
        web["/page"] = Answer("hello")
        url = web.url("/page?q=1", host=name)
        with proxied(url.split("/")[2]) as proxy:
            with by_urllib(proxy).open(url) as answer:
                assert answer.read() == b"hello" and answer.headers["Connection"] == "close"
            with httpx.Client(proxy=f"http://127.0.0.1:{proxy.port}", trust_env=False) as client:
                assert client.get(url).text == "hello"
                assert client.post(url, content=b"sized").text == "hello"
                assert client.get(web.url("/missing", host=name)).status_code == 404
        assert [(each.method, each.query) for each in web.requests[:2]] == [("GET", {"q": "1"})] * 2
        assert web.requests[2].body == b"sized"


def test_no_other_virtual_host_and_no_header_of_one_hop_gets_through():
    with WebServer() as web:
        authority = web.url().split("/")[2]
        with proxied(authority) as proxy:
            say(
                proxy,
                f"GET http://{authority.upper()}?q=2 HTTP/1.1\r\nHost: evil.example\r\nhost: b.example\r\n"
                "Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\n"
                "Upgrade: websocket\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nX-Kept: \tyes \r\n\r\n",
            )
        assert web.requests[0].headers == {"host": authority, "x-kept": "yes", "connection": "close"}
        assert (web.requests[0].path, web.requests[0].query) == ("/", {"q": "2"})


BODIES = {
    "sized": ("Content-Length: 5\r\n", "hello", "Connection: close\r\n\r\nhello"),
    "chunked": (
        "Transfer-Encoding: CHUNKED\r\nTrailer: X\r\n",
        "5;ext=1\r\nhello\r\n00B \r\n, world 12 \r\n0\r\nX: trailer\r\n\r\n",
        "Connection: close\r\n\r\n5\r\nhello\r\nb\r\n, world 12 \r\n0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("waits", [False, True])
def test_a_body_passes_alone_and_a_second_request_is_dropped(kind, waits):
    headers, body, passed = BODIES[kind]
    got = []

    def serve(connection):
        read = read_until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        read += read_until(connection, passed[-5:].encode())
        connection.sendall(b"HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\n a: b\r\nX: 1\r\n\r\nbody")
        ended.wait()
        connection.shutdown(socket.SHUT_WR)
        got.append((read + everything(connection)).decode())

    ended = threading.Event()
    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}") as proxy, connected(proxy) as client:
        head = f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\n{headers}\r\n"
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in head.encode():
            client.sendall(bytes([byte]))
        if waits:
            assert client.recv(len(interim), socket.MSG_WAITALL) == interim
        for byte in f"{body}GET http://evil.example/ HTTP/1.1\r\n\r\n".encode():  # in whatever pieces it comes
            client.sendall(bytes([byte]))
        ended.set()
        answer = everything(client)
    assert answer == interim * (not waits) + b"HTTP/1.1 200 OK\r\nX: 1\r\nConnection: close\r\n\r\nbody"
    assert got[0].startswith(f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n") and got[0].endswith(passed)
    assert "evil" not in got[0] and len(got) == 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("", 400),
        ("GET", 400),
        ("GET /path HTTP/1.1\r\nHost: 127.0.0.1", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("GET https://127.0.0.1/ HTTP/1.1", 400),
        ("GET ftp://127.0.0.1/ HTTP/1.1", 400),
        ("GET http://user@127.0.0.1/ HTTP/1.1", 400),
        ("GET http://127.0.0.1\\@evil.example/ HTTP/1.1", 400),
        ("GET http://127.0.0.1:PORT:80/ HTTP/1.1", 400),
        ("GET http:///x HTTP/1.1", 400),
        ("GET http://127.0.0.1:PORT/a#b HTTP/1.1", 400),
        ("GET http://127.0.0.1:PORT/\xe9 HTTP/1.1", 400),
        ("GET http://127.0.0.1:PORT/ x HTTP/1.1", 400),
        ("GET  http://127.0.0.1:PORT/ HTTP/1.1", 400),
        ("G\x00T http://127.0.0.1:PORT/ HTTP/1.1", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("CONNECT 127.0.0.1 HTTP/1.1", 400),
        ("CONNECT 127.0.0.1:PORT:1 HTTP/1.1", 400),
        ("CONNECT http://127.0.0.1:PORT/ HTTP/1.1", 400),
        ("CONNECT [::1%lo]:80 HTTP/1.1", 400),
        ("CONNECT 0:PORT HTTP/1.1", 403),
        ("CONNECT 2130706433:PORT HTTP/1.1", 403),
        ("CONNECT 127.1:PORT HTTP/1.1", 403),
        ("CONNECT [::ffff:127.0.0.1]:PORT HTTP/1.1", 403),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nNo colon", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nA : b", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nA: b\r\n folded", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nA: b\nHost: evil", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nA: b\rHost: evil", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nA: \x00", 400),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1" + "\r\nA: b" * 101, 431),
        ("GET http://127.0.0.1:PORT/ HTTP/1.1\r\nA: " + "b" * 40_000, 431),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length: 3, 3", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length: +3", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length: -3", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length: \xb3", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length:", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nTransfer-Encoding: \x0bchunked", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.1\r\nTransfer-Encoding : chunked", 400),
        ("POST http://127.0.0.1:PORT/ HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
    ],
)
def test_what_cannot_be_read_or_could_be_read_in_two_ways_is_refused(head, status):
    with WebServer() as web:
        port = web.url().rpartition(":")[2].rstrip("/")
        with proxied(f"127.0.0.1:{port}") as proxy:
            request = head.replace("PORT", port).encode("latin-1") + b"\r\n\r\n"
            assert say(proxy, request).startswith(f"HTTP/1.1 {status} ")
        assert not web.requests


@pytest.mark.parametrize(
    "chunks", ["x\r\n", "-1\r\na", "3\r\nabcX\r\n", "3\nabc", "\r\n", "fffffffffffffffff\r\n", "1;\x00\r\n", "1" * 2000]
)
def test_a_malformed_chunk_ends_the_connection(chunks):
    got = []

    def serve(connection):
        got.append(everything(connection))

    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}") as proxy:
        head = f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert say(proxy, head + chunks).startswith("HTTP/1.1 400 a chunk")
    assert not got or not got[0].endswith(b"0\r\n\r\n")


# Hosts that misbehave, clients that do


def test_a_head_that_does_not_come_is_not_waited_for():
    with proxied(head_seconds=0.05) as proxy:
        assert say(proxy, "GET http://good.exa").startswith("HTTP/1.1 408 ")


def test_a_host_that_cannot_be_reached():
    authority = unused_address().split("/")[2]
    with proxied(authority, "nowhere.invalid") as proxy:
        assert "cannot be reached: Connection refused" in say(proxy, f"CONNECT {authority} HTTP/1.1\r\n\r\n")
        assert "502 no address was found" in say(proxy, "GET http://nowhere.invalid/ HTTP/1.1\r\n\r\n")
    with unreachable_address() as url, proxied(url.split("/")[2], connect_seconds=0.05) as proxy:
        assert "cannot be reached: it took too long" in say(proxy, f"GET {url} HTTP/1.1\r\n\r\n")


def test_a_host_that_does_not_answer():
    with WebServer() as web:
        web["/silent"], web["/cut"] = Silent(), Cut()
        with proxied(web.url().split("/")[2], idle_seconds=0.05) as proxy:
            assert say(proxy, f"GET {web.url('/silent')} HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 504 ")
        with proxied(web.url().split("/")[2]) as proxy:
            assert say(proxy, f"GET {web.url('/cut')} HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 502 ")

    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(reset) as port, proxied(f"127.0.0.1:{port}") as proxy:
        assert say(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 502 ")


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + PIECE * 2]
)
def test_an_answer_that_is_no_http(answer):
    def serve(connection):
        connection.recv(65536)
        connection.sendall(answer)

    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}") as proxy:
        assert say(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 502 ")


def test_an_answer_before_the_request_was_read_arrives():
    def serve(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")

    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}") as proxy:
        for _ in range(20):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=PIECE * 64)
            with pytest.raises(urllib.error.HTTPError, match="413") as raised:
                by_urllib(proxy).open(request)
            raised.value.close()


def test_a_refusal_is_read_by_a_client_that_is_still_sending():
    with proxied() as proxy:
        request = urllib.request.Request("http://evil.example/", data=PIECE * 256)
        with pytest.raises(urllib.error.HTTPError, match=r"403: evil.example:80 is not an allowed host") as raised:
            by_urllib(proxy).open(request)
        assert b"--allow-host evil.example," in raised.value.read()
        raised.value.close()


# Much data, many connections, an end in the middle


def test_a_tunnel_carries_both_ways_with_bounded_memory():
    with raw_server(echo) as port, proxied(f"127.0.0.1:{port}") as proxy, tunnel(proxy, f"127.0.0.1:{port}") as client:

        def send():
            for _ in range(MEBIBYTES * 16):
                client.sendall(PIECE)
            client.shutdown(socket.SHUT_WR)

        tracemalloc.start()
        sender = threading.Thread(target=send)
        sender.start()
        count = 0
        while piece := client.recv(len(PIECE), socket.MSG_WAITALL):
            assert piece == PIECE
            count += len(piece)
        sender.join()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == MEBIBYTES << 20
    assert peak < 4 << 20


def test_bodies_stream_both_ways_with_bounded_memory():
    def serve(connection):
        read_until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        left = MEBIBYTES << 20
        while left:
            piece = connection.recv(65536)
            connection.sendall(piece)
            left -= len(piece)

    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}") as proxy, connected(proxy) as client:

        def send():
            head = f"PUT http://127.0.0.1:{port}/ HTTP/1.1\r\nContent-Length: {MEBIBYTES << 20}\r\n\r\n"
            client.sendall(head.encode())
            for _ in range(MEBIBYTES * 16):
                client.sendall(PIECE)

        tracemalloc.start()
        sender = threading.Thread(target=send)
        sender.start()
        answer = http.client.HTTPResponse(client)
        answer.begin()
        count = 0
        while piece := answer.read(len(PIECE)):
            assert piece == PIECE
            count += len(piece)
        sender.join()
        answer.close()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == MEBIBYTES << 20
    assert peak < 4 << 20


def test_a_client_that_does_not_read_stops_the_sender():
    stopped = threading.Event()

    def serve(connection):
        connection.settimeout(0.3)
        try:
            for _ in range(16_384):  # 1 GiB
                connection.sendall(PIECE)
        except TimeoutError:
            stopped.set()

    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}") as proxy, tunnel(proxy, f"127.0.0.1:{port}"):
        assert stopped.wait(60)


def test_close_ends_all_in_the_middle():
    with WebServer() as web, raw_server(echo) as port, unreachable_address() as far, contextlib.ExitStack() as stack:
        web["/endless"], web["/silent"] = Endless(PIECE), Silent()
        with proxied(web.url().split("/")[2], far.split("/")[2], f"127.0.0.1:{port}") as proxy:
            clients = [stack.enter_context(connected(proxy)) for _ in range(4)]
            for client, url in zip(clients, (web.url("/endless"), web.url("/silent"), far), strict=False):
                client.sendall(f"GET {url} HTTP/1.1\r\n\r\n".encode())
            clients[3].sendall(b"GET http://half.a.head/")
            clients.append(stack.enter_context(tunnel(proxy, f"127.0.0.1:{port}")))
            assert clients[0].recv(1) == b"H"
            proxy.close()
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    everything(client)  # comes to its end
            with pytest.raises(ConnectionError):
                connected(proxy).close()
            proxy.close()


def test_close_before_start_closes_the_listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        AllowProxy(listener, []).close()
        assert listener.fileno() == -1


def test_more_connections_than_it_takes_at_once_wait_their_turn():
    as_many_as_it_takes, one_more = threading.Barrier(4), threading.Event()
    inside, lock = [], threading.Lock()

    def serve(connection):
        connection.recv(65536)
        with lock:
            inside.append(connection)
            if len(inside) > 4:
                one_more.set()
        as_many_as_it_takes.wait(60)
        one_more.wait(0.05)
        with lock:
            inside.remove(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")

    with raw_server(serve) as port, proxied(f"127.0.0.1:{port}", connections=4) as proxy:
        answers = []

        def ask():
            answers.append(say(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n").rpartition("\r\n")[2])

        threads = [threading.Thread(target=ask) for _ in range(120)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == ["hello"] * 120
    assert not one_more.is_set()
