"""Reads a stream of events: what each of them holds, whatever the bytes are cut into."""


class Events:
    """Takes bytes as they come, and gives the data of the events that are complete.

    Lines end at CR, LF or both and nowhere else: U+2028 is text of a model, not a line end.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[str]:
        """The data of each event that these bytes complete."""
        found = []
        whole = self._rest + chunk
        held = b"\r" if whole.endswith(b"\r") else b""  # its LF may be on the way
        whole = whole.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = whole.split(b"\n")
        self._rest = rest + held
        for line in lines:
            if line:
                if line.startswith(b"data:"):
                    self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif self._data:
                found.append(b"\n".join(self._data).decode("utf-8"))
                self._data = []
        return found
