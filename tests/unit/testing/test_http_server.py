import time

from proxy.testing import Reply


def test_requests_are_recorded_as_they_were_on_the_wire(server, connect):
    connect().send(
        b"POST /v1/x?b=2&a=%201 HTTP/1.1\r\nHost: h\r\nX-Dup: 1\r\nx-dup: 2\r\nContent-Length: 9\r\n\r\n" + b'{"a": 1 }'
    ).read_answer()
    [request] = server.requests
    assert request.method == "POST"
    assert request.target == b"/v1/x?b=2&a=%201"
    assert (request.path, request.query) == ("/v1/x", b"b=2&a=%201")
    assert request.headers == [(b"Host", b"h"), (b"X-Dup", b"1"), (b"x-dup", b"2"), (b"Content-Length", b"9")]
    assert request.header_values("X-DUP") == ["1", "2"]
    assert request.header("absent") is None
    assert request.body == b'{"a": 1 }'
    assert request.json == {"a": 1}
    assert request.answered.wait(5)


def test_a_chunked_request_body_is_decoded(server, connect):
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    connect().send(head + b"2\r\nab\r\n1\r\nc\r\n0\r\nx-trailer: 1\r\n\r\n").read_answer()
    assert server.requests[0].body == b"abc"
    assert server.requests[0].header("x-trailer") is None


def test_pipelined_requests_are_answered_in_order(server, connect, get_request):
    server.enqueue(Reply(body=b"slow", delay=0.02), Reply(body=b"fast"))
    client = connect().send(get_request + get_request)
    assert [client.read_answer()[1], client.read_answer()[1]] == [b"slow", b"fast"]


def test_connections_are_kept_alive_and_numbered(server, connect, get_request):
    first, second = connect(), connect()
    for client in (first, second, first):
        client.send(get_request).read_answer()
    assert [request.connection_id for request in server.requests] in ([1, 2, 1], [2, 1, 2])
    assert (server.connections_open, server.connections_total) == (2, 2)


def test_the_last_request_of_a_connection_is_announced(server, connect, get_request):
    server.max_requests_per_connection = 2
    client = connect().send(get_request)
    assert b"connection: close" not in client.read_answer()[0]
    assert b"connection: close" in client.send(get_request).read_all()


def test_an_idle_connection_is_closed_unannounced(server, connect, get_request):
    server.idle_timeout = 0.02
    client = connect().send(get_request)
    answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"connection: close" not in answer


def test_a_client_that_asks_to_close_is_closed(connect):
    answer = connect().send(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").read_all()
    assert answer.startswith(b"HTTP/1.1 200")


def test_expect_100_continue_is_answered_before_the_body(server, connect):
    client = connect().send(b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.send(b"ok").read_answer()[0].startswith(b"HTTP/1.1 404")
    assert server.requests[0].body == b"ok"


def test_a_client_that_leaves_while_sending_is_an_incomplete_request(server, connect):
    connect().send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf").close()
    deadline = time.monotonic() + 5
    while not server.incomplete_requests and time.monotonic() < deadline:
        time.sleep(0.001)
    assert server.requests == []
    assert [request.path for request in server.incomplete_requests] == ["/x"]


def test_broken_http_is_answered_with_400(connect):
    assert connect().send(b"this is no request\r\n\r\n").read_all().startswith(b"HTTP/1.1 400")
