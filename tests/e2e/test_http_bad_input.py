"""Hostile and broken input on the wire: nothing crashes, nothing grows without bound, every output is valid UTF-8, what
is not an exchange is counted under a reason, and the next good exchange is exact."""

import os
import socket

import pytest

from lab import wait_until
from observer import Exchange
from weir import SERVER, Weir
from wire import (C, CLIENT_CLOSE, CLIENT_RST, S, SERVER_CLOSE, Wire, no_linger)

GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n"
OK5 = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
get5 = Exchange(got=5)
malformed = "malformed_response"


def response(*headers):
    return "HTTP/1.1 200 OK\r\n" + "".join(h + "\r\n" for h in headers) + "\r\n"


# name, steps, what the server's and the client's cgroup must show
ROWS = [
    ("garbage_both_ways", [C(os.urandom(65536)), S(os.urandom(65536)), CLIENT_CLOSE], []),
    ("capital_garbage", [C("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 4000), S("QWERTY" * 1000), CLIENT_CLOSE], []),
    ("line_feeds", [C("\r\n" * 30000), S("\n" * 30000), CLIENT_CLOSE], []),
    ("zero_bytes", [C(b"\0" * 65536), S(b"\0" * 65536), CLIENT_CLOSE], []),
    ("tls", [C(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500)), S(b"\x16\x03\x03" + os.urandom(900)),
             C(b"\x17\x03\x03\0\x20" + os.urandom(32)), CLIENT_CLOSE], []),
    ("http_2", [C("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\0" * 30), S(b"\0\0\x12\4\0\0\0\0\0" + os.urandom(18)), CLIENT_CLOSE], []),
    ("server_speaks_first", [S("220 mail.example ESMTP\r\n"), C("EHLO t\r\n"), S("250 ok\r\n"), CLIENT_CLOSE], []),
    ("not_a_version", [C("GET / HTTP/9.9\r\n\r\n"), S("HTTP/9.9 200 OK\r\n\r\n"), SERVER_CLOSE], []),
    ("request_without_version", [C("GET /\r\n\r\n"), S("hello"), SERVER_CLOSE], []),
    ("redis_and_sql", [C("*1\r\n$4\r\nPING\r\n"), S("+PONG\r\n"), C("SELECT 1;\n"), CLIENT_CLOSE], []),
    ("response_with_letters_in_the_status", [C(GET), S("HTTP/1.1 2x0 OK\r\n\r\n"), SERVER_CLOSE],
     [Exchange(status=None, error=malformed)]),
    ("response_of_garbage", [C(GET), S(b"\xff\xfe" * 500), SERVER_CLOSE], [Exchange(status=None, error=malformed)]),
    ("negative_length", [C(GET), S(response("Content-Length: -5")), SERVER_CLOSE], [Exchange(error=malformed)]),
    ("length_of_twenty_digits", [C(GET), S(response("Content-Length: 99999999999999999999") + "x"), SERVER_CLOSE],
     [Exchange(error=malformed)]),
    ("length_of_letters", [C(GET), S(response("Content-Length: five") + "hello"), SERVER_CLOSE], [Exchange(error=malformed)]),
    ("empty_length", [C(GET), S(response("Content-Length:") + "hello"), SERVER_CLOSE], [Exchange(error=malformed)]),
    ("length_list", [C(GET), S(response("Content-Length: 5, 6") + "hello"), SERVER_CLOSE], [Exchange(error=malformed)]),
    ("two_lengths", [C(GET), S(response("Content-Length: 5", "Content-Length: 6") + "hello"), SERVER_CLOSE],
     [Exchange(error=malformed)]),
    ("length_that_never_comes", [C(GET), S(response("Content-Length: 999999999999999999") + "hello"), SERVER_CLOSE],
     [Exchange(error="connection_closed", got=5)]),
    ("chunk_of_letters", [C(GET), S(response("Transfer-Encoding: chunked") + "zz\r\nhello\r\n"), SERVER_CLOSE],
     [Exchange(error=malformed)]),
    ("chunk_of_seventeen_digits", [C(GET), S(response("Transfer-Encoding: chunked") + "F" * 17 + "\r\nhello"), SERVER_CLOSE],
     [Exchange(error=malformed)]),
    ("negative_chunk", [C(GET), S(response("Transfer-Encoding: chunked") + "-1\r\nhello"), SERVER_CLOSE],
     [Exchange(error=malformed)]),
    ("good_then_bad", [C(GET), S(OK5), C(GET), S("HTTP/1.1 BAD\r\n\r\n"), SERVER_CLOSE],
     [get5, Exchange(status=None, error=malformed)]),
    ("request_with_both_lengths", [C("POST /p HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                                     "5\r\nhello\r\n0\r\n\r\n"), S(OK5), C(GET), S(OK5)],
     [Exchange("POST", "/p", sent=5, got=5), get5]),
    ("line_of_64_kb", [C("GET /" + "a" * 65536 + " HTTP/1.1\r\nHost: t\r\n\r\n"),
                       S("HTTP/1.1 414 Long\r\nContent-Length: 0\r\n\r\n"), C(GET), S(OK5)], None),
    ("line_of_64_kb_byte_by_byte_at_its_start", [C("GET /aaaaaaaaaaaaaaa", every=1), C("a" * 65536 + " HTTP/1.1\r\n\r\n"),
                                                 S("HTTP/1.1 414 Long\r\nContent-Length: 0\r\n\r\n"), C(GET), S(OK5)], None),
    ("headers_of_a_megabyte", [C("GET / HTTP/1.1\r\n" + "X-Header: value\r\n" * 60000),
                               S("HTTP/1.1 431 Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), SERVER_CLOSE],
     [Exchange(status=431)]),
    ("one_header_of_a_megabyte", [C("GET / HTTP/1.1\r\nX: " + "v" * 1000000 + "\r\n\r\n"), S(OK5), C(GET), S(OK5)], [get5, get5]),
    ("response_headers_of_a_megabyte", [C(GET), S("HTTP/1.1 200 OK\r\n" + "X-Header: value\r\n" * 60000 + "Content-Length: 5\r\n\r\nhello"),
                                        C(GET), S(OK5)], [get5, get5]),
    ("headers_that_never_end", [C("GET / HTTP/1.1\r\n" + "X-Header: value\r\n" * 60000), CLIENT_RST],
     [Exchange(status=None, error="connection_reset")]),
]


@pytest.mark.parametrize("steps,want", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_input(lab, observer, steps, want):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(*steps)
    if want is None:  # the path is cut: looked at apart
        for cgroup, role in ((wire.server_cgroup, "server"), (wire.client_cgroup, "client")):
            records = observer.records(cgroup, role, 2)
            assert [r["status"] for r in records] == [414, 200]
            assert records[0]["path"].startswith("/aaaaaaaa") and len(records[0]["path"]) < 256
        want = [Exchange(path=records[0]["path"], status=414), get5]
    observer.expect(wire.server_cgroup, "server", want)
    observer.expect(wire.client_cgroup, "client", want)
    wire.play(C(GET), S(OK5))  # on a connection of its own all is well again
    observer.expect(wire.server_cgroup, "server", want + [get5])


@pytest.mark.parametrize("line", [b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: 5\r\nContent-Length: 7",
                                  b"Transfer-Encoding: gzip"], ids=["negative", "letters", "two", "not_chunked"])
def test_request_whose_length_cannot_be_known(lab, observer, line):
    """The server refuses it and closes: an exchange that is seen, or counted as not understood, never neither."""
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    before = observer.agent.law()
    wire.play(C(b"POST /bad HTTP/1.1\r\nHost: t\r\n" + line + b"\r\n\r\nhello"),
              S("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), SERVER_CLOSE)
    for cgroup, role in ((wire.server_cgroup, "server"), (wire.client_cgroup, "client")):
        records = observer.records(cgroup, role)
        if records:
            assert [(r["path"], r["status"]) for r in records] == [("/bad", 400)]
        else:
            after = observer.agent.law()
            assert after["lost"].get("parse", 0) > before["lost"].get("parse", 0)
    wire.play(C(GET), S(OK5))
    assert observer.records(wire.server_cgroup, count=1)[-1]["path"] == "/"


def test_response_without_a_request(lab, observer):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(S(OK5), C(GET), S(OK5), SERVER_CLOSE)
    for cgroup, role in ((wire.server_cgroup, "server"), (wire.client_cgroup, "client")):
        records = observer.records(cgroup)
        assert len(records) <= 1 and all(r["role"] == role for r in records)


@pytest.mark.parametrize("path", [b"/nul\0byte", b"/\xff\xfe\xc3(", b"/\xed\xa0\x80", b"/\x1b[31mred", b"/tab\tand\x7f",
                                  b'/"quotes"\\back', "/grün/日本".encode(), b"/%00%ff%zz", b"/{}", b"/" + b"\xf0\x9f" * 60],
                         ids=["nul", "invalid_utf8", "surrogate", "escape", "control", "quotes", "utf8", "percent",
                              "braces", "cut_inside_a_character"])
def test_hostile_paths(lab, observer, path):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    for _ in range(3):
        wire.play(C(b"GET " + path + b" HTTP/1.1\r\nHost: t\r\n\r\n"), S(OK5))
    records = observer.records(wire.server_cgroup, "server", 3)
    assert [r["status"] for r in records] == [200] * 3
    assert len({r["path"] for r in records}) == 1
    observer.expect_counts(wire.server_cgroup, "server", {(200, None): 3})
    observer.agent.metrics()  # decodes as UTF-8 and parses
    try:
        text = path.decode()
        assert not text.isprintable() or records[0]["path"] == text
    except UnicodeDecodeError:
        pass


def test_hundred_thousand_paths(lab, observer):
    """Bounded: at most 200 routes and one for the rest. Every request is counted once."""
    agent = lab.own(Weir(lab))
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    ends = wire.connect()
    total = 100003
    for start in range(0, total, 50):
        batch = range(start, min(start + 50, total))
        wire.play(C("".join("GET /%s/w%s HTTP/1.1\r\n\r\n" % (word(i), word(i * 7)) for i in batch)), S(OK5 * len(batch)),
                  ends=ends, close=False)
        if start == 10000:
            early = agent.rss_bytes()
    wire.hang_up(*ends)

    def settled():
        snap = agent.snapshot()
        return snap.count(SERVER, wire.server_cgroup) == total and snap
    snap = wait_until(settled, lambda: "%d, have %d" % (total, agent.snapshot().count(SERVER, wire.server_cgroup)))
    routes = {p.attributes.get("http.route") for p in snap.find(SERVER, wire.server_cgroup)}
    assert 2 <= len(routes) <= 202
    assert snap.find("weir.route.overflow")[0].value > 0
    agent.law()
    assert agent.rss_bytes() < max(early, 8 << 20) + (8 << 20)
    agent.metrics()
    del observer


def word(number):
    """A different lower-case word for each number, without digits: not what routes generalise."""
    letters = "abcdefghij"
    return "".join(letters[int(d)] for d in str(number))


def test_ten_thousand_connections_opened_and_dropped(lab, observer):
    """Some say nothing, some half a request, some are reset: no series for the silent ones, no memory kept."""
    agent = lab.own(Weir(lab))
    silent = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    address = ("127.0.0.1", silent.port)
    silent.listener.settimeout(20)
    with silent.client_cgroup.inside():
        def connect():
            client = socket.create_connection(address)
            server, _ = silent.listener.accept()
            return client, server
        pairs = []
        for i in range(10000):
            if i == 1000:
                early = agent.rss_bytes()
            client, server = connect()
            if i % 10 == 0:
                client.sendall(b"GET /half")
            if i % 4 == 0:
                no_linger(client)
            pairs.append((client, server))
            if len(pairs) == 200:
                for pair in pairs:
                    pair[0].close()
                    pair[1].close()
                pairs = []
    silent.play(C(GET), S(OK5))
    wait_until(lambda: agent.snapshot().count(SERVER, silent.server_cgroup) >= 1, "the good one")
    snap = agent.snapshot()
    assert snap.count(SERVER, silent.server_cgroup, http_response_status_code=200) == 1
    assert snap.count(SERVER, silent.server_cgroup) <= 1 + 1000
    agent.law()
    assert agent.rss_bytes() < early + (4 << 20)
    del observer
