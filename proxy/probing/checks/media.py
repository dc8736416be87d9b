"""Content in parts: text, images and sound. What the model sees of them shows in the count of the prompt's tokens."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from typing import Any

from proxy.probing.check import AUDIO, IMAGES, Check, Finding, Steps, lacking, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TOKENS = 5
_SIDE = 64
_QUESTION = {"type": "text", "text": "What is this?"}
_MARKERS = 4
"""Tokens; a part that only its placeholder is left of has no more."""


def content_parts(subject: Subject) -> Steps:
    """A message of one text part has the tokens of the same text."""
    whole = yield from plain(subject.ask(_QUESTION["text"], tokens=_TOKENS))
    parts = yield from plain(subject.ask([_QUESTION], tokens=_TOKENS))
    counts = [answer.usage("prompt_tokens") for answer in (whole, parts)]
    told = f"prompt_tokens {counts[0]} as text, {counts[1]} in a part"
    return Finding(Verdict.SUPPORTED if counts[0] == counts[1] else Verdict.WRONG, told)


def image(subject: Subject) -> Steps:
    """An image adds tokens to the prompt."""
    url = f"data:image/png;base64,{b64encode(png()).decode()}"
    return _seen(subject, {"type": "image_url", "image_url": {"url": url}})


def audio(subject: Subject) -> Steps:
    """Sound adds tokens to the prompt."""
    return _seen(subject, {"type": "input_audio", "input_audio": {"data": b64encode(wav()).decode(), "format": "wav"}})


def _seen(subject: Subject, part: dict[str, Any]) -> Steps:
    without = yield from plain(subject.ask([_QUESTION], tokens=_TOKENS))
    seen = yield from plain(subject.ask([_QUESTION, part], tokens=_TOKENS))
    before, after = without.usage("prompt_tokens"), seen.usage("prompt_tokens")
    told = f"prompt_tokens {before} without, {after} with it"
    if before is None or after is None or 0 < after - before <= _MARKERS:
        return Finding(Verdict.UNKNOWN, told)
    return Finding(Verdict.SUPPORTED if after > before else Verdict.IGNORED, told)


def png() -> bytes:
    """Return a red square as PNG."""
    row = b"\0" + b"\xe0\x10\x10" * _SIDE
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * _SIDE)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def wav() -> bytes:
    """Return half a second of a 400 Hz square wave as WAV."""
    rate, seconds = 8000, 0.5
    samples = b"".join(struct.pack("<h", 8000 if n // 10 % 2 else -8000) for n in range(int(rate * seconds)))
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    inner = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of chat; text completions have none."""
    if route != routes.CHAT:
        return ()
    other_model = "take another model or server"
    return (
        Check(
            route,
            "content_parts",
            "a text part counts as many tokens as the text",
            content_parts,
            (),
            lacking("join the parts into one text"),
        ),
        Check(route, "image", "an image adds tokens to the prompt", image, (IMAGES,), lacking(other_model)),
        Check(route, "audio", "sound adds tokens to the prompt", audio, (AUDIO,), lacking(other_model)),
    )
