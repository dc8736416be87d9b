"""What a check is: a generator that yields requests, is sent answers, and returns what they show."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from proxy.probing.answers import Answer, Ask, Stream, message, read_stream, short
from proxy.probing.subject import Subject
from proxy.wire.profile import Verdict

GENERATION = "generation"
LOGLIKELIHOOD = "loglikelihood"
SAMPLING = "sampling"
TOOLS = "tools"
STRUCTURED = "structured"
IMAGES = "images"
AUDIO = "audio"
SPEED = "speed"
EMBEDDINGS = "embeddings"

NEEDS: Mapping[str, str] = {
    GENERATION: "a text is generated and scored: gsm8k, MMLU-Pro, IFEval, HumanEval",
    LOGLIKELIHOOD: "the prompt's own tokens are scored: multiple choice of lm-eval (MMLU, ARC, HellaSwag), perplexity",
    SAMPLING: "several answers to one prompt: pass@k, maj@k, epochs",
    TOOLS: "functions are called: BFCL, agents",
    STRUCTURED: "answers that fit a schema",
    IMAGES: "images in the prompt: MMMU",
    AUDIO: "sound in the prompt",
    SPEED: "time to first token and tokens per second: guidellm, aiperf",
    EMBEDDINGS: "vectors of texts: MTEB",
}
"""Kinds of tasks, as `needed_by` names them."""

_BUSY = frozenset({429, 502, 503, 504})

Steps = Generator[Ask, Answer, "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    verdict: Verdict
    evidence: str


class Decided(Exception):
    """Ends a check early, with its finding."""

    def __init__(self, verdict: Verdict, evidence: str) -> None:
        super().__init__(evidence)
        self.finding = Finding(verdict, evidence)


@dataclass(frozen=True, slots=True)
class Check:
    """One capability, how it is tested, and what follows."""

    route: str
    """The route, or `server`."""
    what: str
    about: str
    """What it takes to be supported, in a line; shown while it is made."""
    steps: Callable[[Subject], Steps]
    needed_by: tuple[str, ...] = ()
    advice: Mapping[Verdict, str] = field(default_factory=dict)
    """What to do, by verdict."""
    fine: frozenset[Verdict] = frozenset({Verdict.SUPPORTED})
    """Verdicts that need nobody's attention."""

    @property
    def name(self) -> str:
        """As it is in the profile."""
        return f"{self.route}.{self.what}"


def lacking(advice: str) -> dict[Verdict, str]:
    """Return one piece of advice for every way in which a capability is not there."""
    return dict.fromkeys((Verdict.IGNORED, Verdict.REJECTED, Verdict.WRONG), advice)


def answered(ask: Ask) -> Generator[Ask, Answer, Answer]:
    """Return the answer to a request, which may be an error.

    Raises:
        Decided: there is none, or the server is too busy to give one (unknown).
    """
    answer = yield ask
    if answer.failure:
        raise Decided(Verdict.UNKNOWN, answer.failure)
    if answer.status in _BUSY:
        raise Decided(Verdict.UNKNOWN, refusal(answer))
    return answer


def fetched(ask: Ask) -> Generator[Ask, Answer, Answer]:
    """Return the answer to a request that must not be refused.

    Raises:
        Decided: as `answered`; or it is an error (rejected).
    """
    answer = yield from answered(ask)
    if answer.status != 200:
        raise Decided(Verdict.REJECTED, refusal(answer))
    if answer.fields.get("error") is not None:
        raise Decided(Verdict.REJECTED, f"200 with an error: {short(message(answer))}")
    return answer


def plain(ask: Ask) -> Generator[Ask, Answer, Answer]:
    """Return the JSON answer to a request.

    Raises:
        Decided: as `fetched`; or it is something else than a JSON object (wrong).
    """
    answer = yield from fetched(ask)
    if answer.is_stream:
        raise Decided(Verdict.WRONG, "an event stream, though none was asked for")
    if not answer.fields:
        raise Decided(Verdict.WRONG, f"200 with {answer.content_type}: {short(message(answer))}")
    return answer


def streamed(ask: Ask) -> Generator[Ask, Answer, Stream]:
    """Return the stream that answers a request.

    Raises:
        Decided: as `fetched`; or it is no stream (ignored), or one that ends with an error (rejected).
    """
    answer = yield from fetched(ask)
    if not answer.is_stream:
        raise Decided(Verdict.IGNORED, f"answered with {answer.content_type}, not with an event stream")
    stream = read_stream(answer)
    for chunk in stream.chunks:
        if chunk.get("error") is not None:
            raise Decided(Verdict.REJECTED, f"the stream holds an error: {short(chunk)}")
    return stream


def refusal(answer: Answer) -> str:
    """Return an error answer as evidence."""
    return f"{answer.status}: {short(message(answer))}"
