import pytest

from proxy.core.difference import ABSENT, Difference
from proxy.core.stream import StreamChange
from proxy.interceptors.undeclared import ByItsBeginning, Untouched


class Marks:
    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self.changes = [StreamChange(Difference((mark.decode(),), ABSENT, 1))]

    def feed(self, chunk: bytes) -> bytes:
        return self._mark + chunk

    def end(self) -> bytes:
        return self._mark


@pytest.mark.parametrize(
    ("chunks", "mark"),
    [
        ([b"d", b"ata", b":", b" 1"], b"E"),
        ([b"\n", b"\n:", b"x"], b"E"),
        ([b'{"data": 1}'], b"D"),
        ([b"data"], b"D"),
        ([b"dates"], b"D"),
        ([b""], b"D"),
    ],
)
def test_the_one_that_fits_gets_all_of_it(chunks: list[bytes], mark: bytes) -> None:
    chosen = ByItsBeginning(document=lambda: Marks(b"D"), events=lambda: Marks(b"E"))
    assert not chosen.changes
    out = b"".join([chosen.feed(chunk) for chunk in chunks]) + chosen.end()
    assert out.startswith(mark)
    assert out.endswith(mark)
    assert out.replace(mark, b"") == b"".join(chunks)
    [change] = chosen.changes
    assert change.what.path == (mark.decode(),)


def test_untouched_is() -> None:
    assert (Untouched().feed(b"x"), Untouched().end(), Untouched().changes) == (b"x", b"", ())
