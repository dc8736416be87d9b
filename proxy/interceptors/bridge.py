"""What the bridges have in common: one request to another route, and its answer back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field

from proxy.core.document import encode
from proxy.core.errors import AnswerNotEditable, NotEditable, RequestError
from proxy.core.http import Exchange, Payload, Response, get_header, without_headers
from proxy.core.pipeline import Next
from proxy.interceptors.base import KeepsStrict
from proxy.wire.bridges.event_bridge import EventBridge, Translator, lossy, with_losses
from proxy.wire.bridges.losses import Converted
from proxy.wire.encoding import Inflater, decode
from proxy.wire.sse import begins_as_events, is_event_stream

_ENCODING = b"content-encoding"


class BridgeConfig(KeepsStrict):
    """Base of the options of bridges."""

    strict: bool | None = Field(
        None, description="true refuses whatever cannot be carried over; null takes the setting `strict`"
    )


class Back(Protocol):
    """The way back of one answer."""

    def whole(self, answer: dict[str, Any], /) -> tuple[dict[str, Any], list[str]]:
        """Return a plain answer in the client's form, and the fields that were lost."""

    def events(self) -> Translator:
        """Return what translates a stream."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """Asks another route in place of the one that the client asked."""

    name: str
    """The interceptor's."""
    route: str
    path: bytes
    """Of the other route."""
    strict: bool

    async def cross(
        self,
        exchange: Exchange,
        call_next: Next,
        convert: Callable[[dict[str, Any]], Converted],
        back: Callable[[dict[str, Any]], Back],
    ) -> Response:
        """Send the request over, and bring the answer back.

        Further in, the exchange is one of the other route, so that the cache has what that route's answer is. On the
        way back and further out it is the client's again.

        Args:
            exchange: on the client's route.
            call_next: what is further in.
            convert: makes the other request of the document, which it may not change.
            back: makes the way back, for the document.

        Raises:
            NotCarried: the request has what cannot be carried over.
            NotEditable: it cannot be read, or not be written again, exactly.
            AnswerNotEditable: the answer has what the client's route cannot hold.
        """
        request = exchange.request
        if not request.body.exact:
            raise NotEditable(
                "the request body holds what strict JSON cannot carry (NaN, duplicate keys, a lone surrogate or bytes"
                f" that are not UTF-8) and '{self.name}' has to convert it; send strict JSON"
            )
        document = dict(request.body.json)
        converted = convert(document)
        way_back = back(document)
        asked, why = exchange.route, f"{exchange.route} as {self.route}"
        try:
            request.body = Payload(encode(converted.body))
        except ValueError as error:
            raise NotEditable(f"'{self.name}' cannot write the request as JSON: {error}") from None
        request.path = self.path
        exchange.ledger.explain("(body)", with_losses(why, converted.left_out))
        exchange.route = self.route
        try:
            response = await call_next(exchange)
        finally:
            exchange.route = asked
        if 200 <= response.status < 300:
            await self._bring_back(exchange, response, way_back, f"{self.route} as {asked}")
        return response

    async def _bring_back(self, exchange: Exchange, response: Response, back: Back, why: str) -> None:
        encoding = get_header(response.headers, _ENCODING)
        response.headers = without_headers(response.headers, frozenset({_ENCODING}))
        if is_event_stream(response.headers):
            stream = response.stream()
            if encoding is not None and encoding.strip().lower() != b"identity":
                stream.map(Inflater(encoding), name=self.name)
            bridge = EventBridge(back.events(), bridge=self.name, why=why, strict=self.strict)
            stream.map(bridge, name=self.name)
            return
        raw = decode(await response.read(), encoding)  # a document is of no use before its last byte
        if raw is None:
            raise AnswerNotEditable("the answer's content encoding cannot be taken off")
        if begins_as_events(raw):
            raise AnswerNotEditable(
                "the model server sends events under the content type"
                f" {(get_header(response.headers, b'content-type') or b'').decode('latin-1')!r}; '{self.name}' takes"
                " them for what they are only under 'text/event-stream'"
            )
        plain = Payload(raw)
        try:
            answer, exact = dict(plain.json), plain.exact
        except RequestError:  # no JSON object: nothing of it is known, and it stays as it is
            response.body = plain
            return
        if answer.get("error") is None:
            if not exact:
                raise AnswerNotEditable("the answer is JSON that not every parser reads the same")
            made, lost = back.whole(answer)
            if self.strict and lost:
                raise lossy(self.name, lost)
            exchange.ledger.explain("(body)", with_losses(why, lost))
            plain = Payload(encode(made))
        response.body = plain
