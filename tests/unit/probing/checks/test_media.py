import struct
import wave
import zlib
from io import BytesIO

import pytest

from proxy.probing.checks.media import png, wav
from tests.unit.probing.driving import chat, drive, error


@pytest.mark.parametrize(("parts", "verdict"), [(10, "supported"), (24, "wrong")])
def test_a_text_part_is_a_text(parts, verdict):
    driven = drive("chat.content_parts", chat("x", prompt=10), chat("x", prompt=parts))
    assert driven.verdict == verdict
    assert driven.body()["messages"][0]["content"] == [{"type": "text", "text": "What is this?"}]


@pytest.mark.parametrize(("name", "kind"), [("image", "image_url"), ("audio", "input_audio")])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (chat("x", prompt=90), "supported"),
        (chat("x", prompt=10), "ignored"),  # transformers serve
        (chat("x", prompt=12), "unknown"),  # a placeholder
        (chat("x", tokens=None), "unknown"),
        (error(500, "image input is not supported"), "rejected"),  # llama.cpp
    ],
)
def test_media_add_tokens(name, kind, answer, verdict):
    driven = drive(f"chat.{name}", chat("x", prompt=10), answer)
    assert driven.verdict == verdict
    assert driven.body()["messages"][0]["content"][1]["type"] == kind


def test_the_image_is_a_png():
    raw = png()
    assert raw.startswith(b"\x89PNG")
    length = struct.unpack(">I", raw[33:37])[0]
    assert raw[37:41] == b"IDAT"
    assert len(zlib.decompress(raw[41 : 41 + length])) == 64 * (1 + 3 * 64)


def test_the_sound_is_a_wav():
    with wave.open(BytesIO(wav())) as sound:
        assert (sound.getframerate(), sound.getnframes(), sound.getnchannels()) == (8000, 4000, 1)
