"""Assembles requests from the bytes of one connection."""

from typing import Protocol

import httptools

from proxy.testing.recording import RecordedRequest


class RequestHandler(Protocol):
    """Who is told about requests as they are read."""

    def head_arrived(self, request: RecordedRequest, keep_alive: bool) -> None:
        """Method, target and headers are there; the body is still empty."""

    def request_arrived(self, request: RecordedRequest, keep_alive: bool) -> None:
        """The request is complete."""


class RequestReader:
    """Feeds bytes to the parser; `pending` is the request that is not complete yet, None between requests."""

    def __init__(self, connection_id: int, handler: RequestHandler) -> None:
        self.pending: RecordedRequest | None = None
        self._connection_id = connection_id
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._target = b""

    def feed(self, data: bytes) -> None:
        """Parse more bytes; raises httptools.HttpParserError if they are not HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer to speak something else: the request itself is complete and answered as usual

    def on_message_begin(self) -> None:
        """Start a request (called by the parser, as all below)."""
        self._headers, self._body, self._target = [], [], b""
        self.pending = None

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may come in parts."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers of a chunked body are left out."""
        if self.pending is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Announce the request."""
        self.pending = RecordedRequest(
            method=self._parser.get_method().decode("latin-1"),
            target=self._target,
            headers=self._headers,
            body=b"",
            connection_id=self._connection_id,
            http_version=self._parser.get_http_version(),
        )
        self._handler.head_arrived(self.pending, self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the request over."""
        request, self.pending = self.pending, None
        assert request is not None
        request.body = b"".join(self._body)
        self._handler.request_arrived(request, self._parser.should_keep_alive())
