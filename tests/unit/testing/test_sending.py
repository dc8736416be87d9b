"""Every fault, seen byte by byte from a raw socket."""

import gzip
import socket
import zlib

import pytest

from proxy.testing import Fault, Reply

CHUNKS = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]


def test_closes_before_any_byte(server, connect, get_request):
    server.enqueue(Reply(fault=Fault.CLOSE_BEFORE_ANSWER))
    assert connect().send(get_request).read_all() == b""
    assert len(server.requests) == 1


def test_resets_before_any_byte(server, connect, get_request):
    server.enqueue(Reply(fault=Fault.RESET_BEFORE_ANSWER))
    with pytest.raises(ConnectionResetError):
        connect().send(get_request).read_all()


def test_closes_in_the_status_line(server, connect, get_request):
    server.enqueue(Reply(fault=Fault.CLOSE_IN_STATUS_LINE), Reply(fault=Fault.CLOSE_IN_STATUS_LINE, after_bytes=10))
    assert connect().send(get_request).read_all() == b"HTTP/1."
    assert connect().send(get_request).read_all() == b"HTTP/1.1 2"


def test_sends_garbage_instead_of_http(server, connect, get_request):
    server.enqueue(Reply(fault=Fault.GARBAGE), Reply(fault=Fault.GARBAGE, body=b"SSH-2.0\r\n"))
    assert not connect().send(get_request).read_all().startswith(b"HTTP")
    assert connect().send(get_request).read_all() == b"SSH-2.0\r\n"


def test_closes_after_the_headers(server, connect, get_request):
    server.enqueue(Reply(body=b"12345", fault=Fault.CLOSE_AFTER_HEADERS))
    answer = connect().send(get_request).read_all()
    assert b"content-length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("where", "sent"), [({}, b"12345"), ({"after_bytes": 3}, b"123"), ({"after_bytes": 0}, b"")])
def test_closes_in_a_body_with_content_length(server, connect, get_request, where, sent):
    server.enqueue(Reply(body=b"1234567890", fault=Fault.CLOSE_IN_BODY, **where))
    head, _, body = connect().send(get_request).read_all().partition(b"\r\n\r\n")
    assert b"content-length: 10" in head
    assert body == sent


@pytest.mark.parametrize(
    ("where", "sent"),
    [
        ({}, b"9\r\ndata: 1\n\n\r\n"),
        ({"after_chunks": 2}, b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n"),
        ({"after_chunks": 0}, b""),
        ({"after_bytes": 12}, b"9\r\ndata: 1\n\n\r\n9\r\ndat"),
    ],
)
def test_closes_in_a_chunked_body(server, connect, get_request, where, sent):
    server.enqueue(Reply(chunks=CHUNKS, fault=Fault.CLOSE_IN_BODY, **where))
    head, _, body = connect().send(get_request).read_all().partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == sent


def test_resets_in_the_body_after_the_bytes_have_arrived(server, connect, get_request):
    server.enqueue(Reply(body=b"1234567890", fault=Fault.RESET_IN_BODY, after_bytes=4))
    client = connect().send(get_request)
    client.read_until(b"\r\n\r\n")
    assert client.read_exactly(4) == b"1234"
    with pytest.raises(ConnectionResetError):
        client.read_all()


def test_stalls_before_the_headers_until_the_client_leaves(server, connect, get_request):
    server.enqueue(Reply(fault=Fault.STALL_BEFORE_HEADERS))
    client = connect().send(get_request)
    [request] = server.wait_for_requests(1)
    client.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    assert not request.aborted.is_set()
    client.close()
    assert request.aborted.wait(5)
    assert not request.answered.is_set()


def test_stalls_in_the_body_until_the_client_leaves(server, connect, get_request):
    server.enqueue(Reply(chunks=CHUNKS, fault=Fault.STALL_IN_BODY, after_chunks=2))
    client = connect().send(get_request)
    assert client.read_until(b"data: 2\n\n\r\n").endswith(b"data: 2\n\n\r\n")
    client.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.close()
    assert server.requests[0].aborted.wait(5)


def test_a_stall_ends_when_the_server_stops(server, connect, get_request):
    server.enqueue(Reply(fault=Fault.STALL_BEFORE_HEADERS))
    client = connect().send(get_request)
    [request] = server.wait_for_requests(1)
    server.stop()
    assert client.read_all() == b""
    assert not request.aborted.is_set()


def test_answers_before_the_body_and_then_reads_it(server, connect, get_request):
    server.enqueue(Reply(status=413, body=b"too large", fault=Fault.ANSWER_BEFORE_BODY))
    client = connect().send(b"POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n")
    head, body = client.read_answer()
    assert (head[:12], body) == (b"HTTP/1.1 413", b"too large")
    client.send(b"late").send(get_request)
    assert client.read_answer()[0].startswith(b"HTTP/1.1 404")
    assert [request.body for request in server.requests] == [b"late", b""]


def test_answers_before_the_body_and_closes_without_reading_it(server, connect):
    server.enqueue(Reply(status=413, body=b"no", fault=Fault.ANSWER_BEFORE_BODY, keep_alive=False))
    client = connect().send(b"POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 4000000\r\n\r\n")
    answer = client.read_all()
    assert b"connection: close" in answer
    assert answer.endswith(b"\r\n\r\nno")
    assert server.incomplete_requests == []


def test_half_closes_after_the_answer_and_goes_on_reading(server, connect, get_request):
    server.enqueue(Reply(body=b"done", fault=Fault.HALF_CLOSE))
    client = connect().send(get_request)
    answer = client.read_all()
    assert answer.endswith(b"\r\n\r\ndone")
    assert b"connection:" not in answer.lower()
    client.send(get_request)
    assert len(server.wait_for_requests(2)) == 2


def test_closes_after_the_answer_without_announcing_it(server, connect, get_request):
    server.enqueue(Reply(body=b"done", fault=Fault.CLOSE_AFTER_ANSWER))
    answer = connect().send(get_request).read_all()
    assert answer.endswith(b"\r\n\r\ndone")
    assert b"connection:" not in answer.lower()


def test_keep_alive_race_drops_the_next_request_unanswered_and_unrecorded(server, connect, get_request):
    server.enqueue(Reply(body=b"first", fault=Fault.CLOSE_ON_NEXT_REQUEST), Reply(body=b"second"))
    client = connect().send(get_request)
    assert client.read_answer()[1] == b"first"
    assert client.send(get_request).read_all() == b""
    assert len(server.requests) == 1
    assert connect().send(get_request).read_answer()[1] == b"second"


@pytest.mark.parametrize(("length", "announced"), [(None, b"15"), (7, b"7")])
def test_announces_a_wrong_content_length_and_closes(server, connect, get_request, length, announced):
    server.enqueue(Reply(body=b"12345", fault=Fault.WRONG_CONTENT_LENGTH, content_length=length))
    head, _, body = connect().send(get_request).read_all().partition(b"\r\n\r\n")
    assert b"content-length: " + announced + b"\r\n" in head + b"\r\n"
    assert body == b"12345"


def test_sends_an_unasked_100_continue_first(server, connect, get_request):
    server.enqueue(Reply(body=b"ok", fault=Fault.EXTRA_CONTINUE))
    client = connect().send(get_request)
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.read_answer()[1] == b"ok"


def test_sends_trailers_after_a_chunked_body(server, connect, get_request):
    server.enqueue(Reply(chunks=[b"a"], trailers=[(b"x-checksum", b"1"), (b"x-checksum", b"2")]))
    client = connect().send(get_request)
    client.read_until(b"\r\n\r\n")
    assert client.read_until(b"2\r\n\r\n") == b"1\r\na\r\n0\r\nx-checksum: 1\r\nx-checksum: 2\r\n\r\n"


def test_compresses_a_body_that_nobody_asked_to_compress(server, connect, get_request):
    server.enqueue(Reply(json={"a": 1}, gzip=True))
    head, body = connect().send(get_request).read_answer()
    assert b"content-encoding: gzip\r\n" in head
    assert gzip.decompress(body) == b'{"a":1}'


def test_compressed_chunks_can_be_decoded_one_by_one(server, connect, get_request):
    server.enqueue(Reply(chunks=CHUNKS, gzip=True, framing="close"))
    client = connect().send(get_request)
    client.read_until(b"\r\n\r\n")
    decoder = zlib.decompressobj(wbits=31)
    assert decoder.decompress(client.read_all()) == b"".join(CHUNKS)
    assert decoder.eof


def test_headers_are_sent_as_given_with_duplicates_and_case(server, connect, get_request):
    given = [(b"X-Twice", b"1"), (b"x-other", b"o"), (b"X-Twice", b"2"), (b"Date", b"never"), (b"Server", b"mine")]
    server.enqueue(Reply(headers=given, body=b"{}"))
    head, _ = connect().send(get_request).read_answer()
    lines = head.split(b"\r\n")
    assert lines[1:6] == [b"X-Twice: 1", b"x-other: o", b"X-Twice: 2", b"Date: never", b"Server: mine"]
    assert head.lower().count(b"date:") == head.lower().count(b"server:") == 1


def test_each_chunk_arrives_before_the_next_is_made(server, connect, get_request):
    server.enqueue(Reply(chunks=CHUNKS, chunk_delay=0.05))
    client = connect().send(get_request)
    for count, chunk in enumerate(CHUNKS, 1):
        client.read_until(chunk)
        if count < len(CHUNKS):
            assert server.requests[0].chunks_sent <= count
            assert not server.requests[0].answered.is_set()
    assert client.read_until(b"0\r\n\r\n").endswith(b"0\r\n\r\n")


def test_a_client_that_does_not_read_holds_the_server_back(server, connect, get_request):
    server.enqueue(Reply(chunks=(b"x" * 65536 for _ in range(10_000))))
    client = connect()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(get_request)
    [request] = server.wait_for_requests(1)
    assert not request.answered.wait(0.3)
    assert 0 < request.chunks_sent < 10_000
    client.close()
    assert request.aborted.wait(5)


def test_a_head_request_gets_the_length_but_no_body(server, connect, get_request):
    server.enqueue(Reply(body=b"12345"))
    client = connect().send(get_request.replace(b"GET", b"HEAD"))
    assert b"content-length: 5\r\n" in client.read_until(b"\r\n\r\n")
    assert client.send(get_request).read_until(b" ") == b"HTTP/1.1 "


def test_an_http_10_client_gets_a_stream_that_ends_with_the_connection(server, connect):
    server.enqueue(Reply(chunks=CHUNKS))
    head, _, body = connect().send(b"GET / HTTP/1.0\r\n\r\n").read_all().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"".join(CHUNKS)
