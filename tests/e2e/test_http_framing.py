"""Every way to frame an exchange, sent byte for byte by the test over real sockets, seen from both ends.

A row: name, steps, the exchanges that the server's cgroup must show, and those of the client's where they differ."""

import time

import pytest

from observer import Exchange
from wire import (C, CLIENT_CLOSE, CLIENT_FIN, CLIENT_RST, S, SERVER_CLOSE, SERVER_FIN, SERVER_RST, Wire)

GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n"
OK5 = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
OK0 = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6; a=\"b\"\r\n world\r\n0\r\n\r\n"
TRAILERS = ("HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n"
            "000b;ext\r\nhello world\r\n0\r\nX-Sum: 1\r\nContent-Length: 77\r\n\r\n")
POST5 = "POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
POST_CHUNKED = "POST /p HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"

get5 = Exchange(got=5)
get0 = Exchange()


def gets(count, prefix="/n"):
    return "".join("GET %s%d HTTP/1.1\r\nHost: t\r\n\r\n" % (prefix, i) for i in range(count))


def got(count, prefix="/n"):
    return [Exchange(path="%s%d" % (prefix, i), got=5) for i in range(count)]


ROWS = [
    ("one", [C(GET), S(OK5)], [get5]),
    ("keep_alive_23", [s for _ in range(23) for s in (C(GET), S(OK5))], [get5] * 23),
    ("request_split_at_every_byte", [C(GET, every=1), S(OK5)], [get5]),
    ("response_split_at_every_byte", [C(GET), S(OK5, every=1)], [get5]),
    ("chunked_split_at_every_byte", [C(POST_CHUNKED, every=1), S(TRAILERS, every=1)],
     [Exchange("POST", "/p", sent=13, got=11)]),
    ("pipelined_16", [C(gets(16)), S(OK5 * 16)], got(16)),
    ("pipelined_40", [C(gets(40)), S(OK5 * 40)], got(40)),
    ("pipelined_40_in_seven_byte_segments", [C(gets(40), every=7), S(OK5 * 40, every=7)], got(40)),
    ("pipelined_16_answered_one_by_one", [C(gets(16))] + [S(OK5)] * 16, got(16)),
    ("pipelined_posts_of_chunks",
     [C(POST_CHUNKED * 16), S(CHUNKED * 16)], [Exchange("POST", "/p", sent=13, got=11)] * 16),
    ("posts_of_32_chunks_in_one_segment",
     [C(("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + "1\r\nx\r\n" * 32 + "0\r\n\r\n") * 4), S(OK5 * 4)],
     [Exchange("POST", "/p", sent=32, got=5)] * 4),
    ("content_length_body", [C(POST5), S(OK5)], [Exchange("POST", "/p", sent=5, got=5)]),
    ("chunked_with_extensions", [C(GET), S(CHUNKED)], [Exchange(got=11)]),
    ("chunked_with_trailers", [C(GET), S(TRAILERS), C(GET), S(OK0)], [Exchange(got=11), get0]),
    ("transfer_encoding_wins_over_content_length",
     [C(GET), S("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
      C(GET), S(OK5)], [Exchange(got=2), get5]),
    ("request_body_of_a_megabyte",
     [C("PUT /big HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + "x" * 1048576), S(OK0)],
     [Exchange("PUT", "/big", sent=1048576)]),
    ("response_body_of_ten_megabytes",
     [C(GET), S("HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n" + "HTTP/1.1" * 1310720), C(GET), S(OK5)],
     [Exchange(got=10485760), get5]),
    ("head", [C("HEAD / HTTP/1.1\r\n\r\n"), S("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"), C(GET), S(OK5)],
     [Exchange("HEAD"), get5]),
    ("head_among_pipelined",
     [C(GET + "HEAD /h HTTP/1.1\r\n\r\n" + GET), S(OK5 + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + OK5)],
     [get5, Exchange("HEAD", "/h"), get5]),
    ("no_content", [C("DELETE /x HTTP/1.1\r\n\r\n"), S("HTTP/1.1 204 No Content\r\n\r\n"), C(GET), S(OK5)],
     [Exchange("DELETE", "/x", 204), get5]),
    ("not_modified", [C(GET), S("HTTP/1.1 304 Not Modified\r\nContent-Length: 512\r\n\r\n"), C(GET), S(OK5)],
     [Exchange(status=304), get5]),
    ("statuses", [s for code in (200, 301, 404, 500, 503, 599)
                  for s in (C(GET), S("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code))],
     [Exchange(status=code) for code in (200, 301, 404, 500, 503, 599)]),
    ("status_without_reason", [C(GET), S("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello")], [get5]),
    ("expect_100", [C("POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
                    S("HTTP/1.1 100 Continue\r\n\r\n"), C("hello"), S(OK5)],
     [Exchange("POST", "/e", sent=5, got=5)]),
    ("early_hints", [C(GET), S("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), S("HTTP/1.1 103 Early Hints\r\n\r\n"),
                     S(OK5), C(GET), S(OK5)], [get5, get5]),
    ("interim_and_final_in_one_segment", [C(GET), S("HTTP/1.1 102 Processing\r\n\r\n" + OK5)], [get5]),
    ("final_answer_instead_of_100",
     [C("POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
      S("HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), SERVER_CLOSE],
     [Exchange("POST", "/e", 417)]),
    ("answer_before_the_request_is_whole",
     [C("POST /e HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello"), S("HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n"),
      C("world"), C(GET), S(OK5)], [Exchange("POST", "/e", 413, sent=5), get5]),
    ("until_close", [C(GET), S("HTTP/1.1 200 OK\r\n\r\nhello "), S("world"), SERVER_CLOSE], [Exchange(got=11)]),
    ("until_close_without_body", [C(GET), S("HTTP/1.1 200 OK\r\n\r\n"), SERVER_CLOSE], [get0]),
    ("http_1_0", [C("GET / HTTP/1.0\r\n\r\n"), S("HTTP/1.0 200 OK\r\n\r\nhello"), SERVER_CLOSE], [get5]),
    ("http_1_0_keep_alive",
     [s for _ in range(3) for s in (
         C("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
         S("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"))], [get5] * 3),
    ("bare_line_feeds", [C("GET / HTTP/1.1\nHost: t\n\n"), S("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")], [get5]),
    ("empty_lines_before_a_request", [C("\r\n\r\n" + GET), S(OK5), C("\r\n" + GET), S(OK5)], [get5, get5]),
    ("header_names_in_any_case",
     [C("POST /p HTTP/1.1\r\ncOnTeNt-LeNgTh:   5  \r\n\r\nhello"),
      S("HTTP/1.1 200 OK\r\ntransfer-ENCODING:\tCHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n")],
     [Exchange("POST", "/p", sent=5, got=5)]),
    ("head_of_many_segments",
     [C("GET / HTTP/1.1\r\n" + "".join("X-%d: %s\r\n" % (i, "v" * 300) for i in range(60)) + "\r\n", every=1000),
      S("HTTP/1.1 200 OK\r\n" + "".join("X-%d: %s\r\n" % (i, "v" * 300) for i in range(60))
        + "Content-Length: 5\r\n\r\nhello", every=1000)], [get5]),
    ("equal_content_lengths", [C(GET), S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
                               C(GET), S(OK5)], [get5, get5]),
    ("methods", [s for m in ("PUT", "PATCH", "OPTIONS", "TRACE", "DELETE", "QUERY")
                 for s in (C("%s /m HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % m), S(OK0))],
     [Exchange(m, "/m") for m in ("PUT", "PATCH", "OPTIONS", "TRACE", "DELETE", "QUERY")]),
    ("query_string_is_dropped", [C("GET /a/b?secret=1&x=/y HTTP/1.1\r\n\r\n"), S(OK5)], [Exchange(path="/a/b", got=5)]),
    ("absolute_target", [C("GET http://t.example/a/b?c HTTP/1.1\r\n\r\n"), S(OK5)], [Exchange(path="/a/b", got=5)]),
    ("options_star", [C("OPTIONS * HTTP/1.1\r\n\r\n"), S(OK0)], [Exchange("OPTIONS", "*")]),
    ("upgrade_to_websocket",
     [C("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
      S("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
      C(b"\x81\x85\0\0\0\0hello"), S(b"\x81\x05hello"), C(GET), S(OK5)], [Exchange(path="/ws", status=101)]),
    ("connect", [C("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"), S("HTTP/1.1 200 Connection established\r\n\r\n"),
                 C(GET), S(OK5), C(b"\x16\x03\x01"), S(b"\x16\x03\x01")], [Exchange("CONNECT", "db:5432")]),
    ("connect_refused",
     [C("CONNECT db:5432 HTTP/1.1\r\n\r\n"), S("HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\nhello"), C(GET), S(OK5)],
     [Exchange("CONNECT", "db:5432", 407, got=5), get5]),
    ("half_close_of_the_client_is_no_abort", [C(GET), CLIENT_FIN, S(OK5), SERVER_CLOSE], [get5]),
    ("client_closes_without_an_answer", [C(GET), S(OK5), C("GET /2 HTTP/1.1\r\n\r\n"), CLIENT_FIN, SERVER_CLOSE],
     [get5, Exchange(path="/2", status=None, error="connection_closed")]),
    ("client_resets", [C(GET), CLIENT_RST], [Exchange(status=None, error="connection_reset")]),
    ("client_resets_inside_the_response",
     [C(GET), S("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), CLIENT_RST],
     [Exchange(error="connection_reset", got=5)]),
    ("server_closes_without_an_answer", [C(GET), SERVER_FIN], [Exchange(status=None, error="connection_closed")]),
    ("server_resets_without_an_answer", [C(GET), SERVER_RST], [Exchange(status=None, error="connection_reset")]),
    ("server_resets_inside_the_response",
     [C(GET), S("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), SERVER_RST],
     [Exchange(error="connection_reset", got=5)]),
    ("server_closes_inside_the_response",
     [C(GET), S("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), SERVER_CLOSE],
     [Exchange(error="connection_closed", got=5)]),
    ("server_closes_inside_a_chunk",
     [C(GET), S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), SERVER_CLOSE],
     [Exchange(error="connection_closed", got=3)]),
    ("server_closes_with_three_in_flight", [C(gets(4)), S(OK5), SERVER_CLOSE],
     got(1) + [Exchange(path="/n%d" % i, status=None, error="connection_closed") for i in (1, 2, 3)]),
    ("closed_in_good_order_between_exchanges", [C(GET), S(OK5), CLIENT_CLOSE], [get5]),
    ("nothing_sent", [CLIENT_CLOSE], []),
]


@pytest.mark.parametrize("steps,server", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_framing(lab, observer, steps, server):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(*steps)
    observer.expect(wire.server_cgroup, "server", server)
    observer.expect(wire.client_cgroup, "client", server)


@pytest.mark.parametrize("listen,dial", [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"),
                                         ("::", "::ffff:127.0.0.1")], ids=["ipv4", "ipv6", "mapped_server", "mapped_both"])
def test_addresses(lab, observer, listen, dial):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client"), listen, dial))
    client, server = wire.connect()
    own = client.getsockname()
    wire.play(C(GET), S(OK5), C(GET), S(OK5), ends=(client, server))
    for cgroup, role, local in ((wire.server_cgroup, "server", False), (wire.client_cgroup, "client", True)):
        for record in observer.expect(cgroup, role, [get5, get5]):
            near, far = (record["local"], record["peer"]) if local else (record["peer"], record["local"])
            host = "[::1]" if dial == "::1" else "127.0.0.1"
            assert near == "%s:%d" % (host, own[1])
            assert far == "%s:%d" % (host, wire.port)


def test_every_split_of_a_pipelined_pair(lab, observer):
    """Both directions cut in two at each byte: one connection for each place, sent at the same time as its neighbours."""
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    request, response = GET + POST5, OK5 + CHUNKED
    want = []
    for at in range(1, max(len(request), len(response))):
        ask, answer = min(at, len(request) - 1), min(at, len(response) - 1)
        wire.play(C(request[:ask]), C(request[ask:]), S(response[:answer]), S(response[answer:]))
        want += [get5, Exchange("POST", "/p", sent=5, got=11)]
    observer.expect(wire.server_cgroup, "server", want)
    observer.expect(wire.client_cgroup, "client", want)


def test_version_is_told(lab, observer):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(C("GET / HTTP/1.0\r\n\r\n"), S("HTTP/1.0 200 OK\r\n\r\nhello"), SERVER_CLOSE)
    wire.play(C(GET), S(OK5))
    records = observer.expect(wire.server_cgroup, "server", [get5, get5])
    assert [r["version"] for r in records] == ["1.0", "1.1"]


def test_ttfb_and_duration(lab, observer):
    """Two waits of the server inside one response: time to first byte is before the second, the end after it. An
    interim response is not a first byte."""
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    client, server = wire.connect()
    marks = []

    def mark():
        marks.append(time.monotonic_ns())

    mark()
    wire.play(C(GET), ends=(client, server), close=False)
    mark()
    wire.play(S("HTTP/1.1 103 Early Hints\r\n\r\n"), ends=(client, server), close=False)
    while time.monotonic_ns() < marks[-1] + 30_000_000:
        pass
    mark()
    wire.play(S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), ends=(client, server), close=False)
    mark()
    while time.monotonic_ns() < marks[-1] + 30_000_000:
        pass
    mark()
    wire.play(S("hello"), ends=(client, server), close=False)
    mark()
    wire.hang_up(client, server)
    for cgroup, role in ((wire.server_cgroup, "server"), (wire.client_cgroup, "client")):
        record, = observer.expect(cgroup, role, [get5])
        assert marks[2] - marks[1] <= record["ttfb_ns"] <= marks[3] - marks[0]
        assert marks[4] - marks[1] <= record["duration_ns"] <= marks[5] - marks[0]
