"""What the cache knows about a run that its scores do not show.

A run is read through indexes: its uses in the pass, once (primary key); its identities; where at most 5000 of the
answers it was served came from; the neighbors of at most 200 of its requests, 5000 in all, for those that differ in
their seed alone from what other passes asked. Verifications are read whole.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlite_utils import Database

from proxy.core.document import encode, parse
from proxy.store.base import ABORTED, LOSSY_SHAPES
from proxy.store.codec import unpack
from proxy.store.interval import wilson
from proxy.store.memories import recall
from proxy.store.runs import state
from proxy.store.statistics import quantities

Finding = dict[str, Any]
"""`{"finding": name, "count": how many, "text": in words, …}`."""

_EXAMPLES = 5
_FEWEST = 5
"""Requests that differ in their seed alone, in all, before it is said."""
_PROMPTS = 200
_NEIGHBORS = 5000
_SERVED = 5000
"""Uses whose origin is looked up; what is told of it is a share."""

_USES = """SELECT sum(asked + served), sum(served), sum(pool = '' AND asked + served > 1),
 sum(CASE WHEN pool = '' AND asked + served > 1 THEN asked + served - 1 END) FROM uses WHERE run = ? AND "pass" = ?"""
# Keys are hashes, so that the first of them are a fair choice. A sample's run is in the name of its pool.
_ORIGINS = f"""SELECT CASE pool WHEN '' THEN coalesce((SELECT responses.run FROM responses
 WHERE responses.key = uses.key AND responses.pool = uses.pool AND responses.sample = uses.sample LIMIT 1), '')
 ELSE substr(pool, 1, instr(pool || '/', '/') - 1) END AS origin, sum(served) FROM
 (SELECT key, pool, sample, served FROM uses WHERE run = ? AND "pass" = ? AND served > 0 LIMIT {_SERVED}) AS uses
GROUP BY origin ORDER BY 2 DESC"""
_NEIGHBORHOODS = f"""SELECT near.prompt, near.route, near.request, mine.served FROM
 (SELECT DISTINCT prompt FROM (SELECT key, pool, sample FROM uses WHERE run = ? AND "pass" = ? LIMIT {_PROMPTS})
  AS used CROSS JOIN responses USING (key, pool, sample)) AS asked
 CROSS JOIN responses AS near LEFT JOIN uses AS mine ON mine.run = ? AND mine."pass" = ? AND mine.key = near.key
  AND mine.pool = near.pool AND mine.sample = near.sample WHERE near.prompt = asked.prompt LIMIT {_NEIGHBORS}"""
_VERIFIED = "SELECT count(*), coalesce(sum(agreed), 0) FROM verifications WHERE run = ?"
_DIFFERED = "SELECT key, at, differs FROM verifications WHERE run = ? AND NOT agreed ORDER BY id DESC LIMIT ?"


def of_run(db: Database, run: str, number: int) -> list[Finding]:
    """Return the findings of a run's pass; identities and verifications are those of all its passes."""
    used, served, distinct, collapsed = db.execute(_USES, [run, number]).fetchone()
    return [
        *([_repeats(distinct, collapsed)] if distinct else []),
        *([_replayed(db, run, number, of=used, served=served)] if served else []),
        *_random_seeds(db, run, number),
        *_lossy_shapes(db, run, number),
        *_mixed_identity(db, run),
        *_verified(db, run),
        *_damped(db, run, number),
        *_ambiguous(db, run, number),
        *_aborted(db, run, number),
    ]


def _aborted(db: Database, run: str, number: int) -> list[Finding]:
    """Say why the pass was given up; that of requests without a run goes on all the same."""
    reason = recall(db.conn, (run, ABORTED, str(number)))
    if reason is None:
        return []
    return [{"finding": "aborted", "count": 1, "text": f"The pass is to be given up (raise_client_errors): {reason}."}]


def _damped(db: Database, run: str, number: int) -> list[Finding]:
    return _counted(
        db,
        (run, number),
        "damped",
        "{} requests asked again and again for what the model server refuses; they got its last answer from memory"
        " (damping). The harness hammers an error: look at the exchanges of this status.",
    )


def _ambiguous(db: Database, run: str, number: int) -> list[Finding]:
    return _counted(
        db,
        (run, number),
        "reasoning_ambiguous",
        "{} earlier answers were sent on without their reasoning: other samples of the same turn read the same and were"
        " reasoned differently (reasoning_replay). A client that keeps the reasoning itself can send it.",
    )


def _counted(db: Database, of: tuple[str, int], name: str, text: str) -> list[Finding]:
    """Return the finding that this was counted in a pass of a run; none where it was not."""
    counted = quantities(db, *of).get(name)
    return [] if counted is None else [{"finding": name, "count": counted.times, "text": text.format(counted.times)}]


def _repeats(distinct: int, collapsed: int) -> Finding:
    text = (
        f"{distinct} deterministic requests were asked more than once in this pass; {collapsed} answers are repeats"
        " of one that was there, and say nothing about the spread of scores. Ask at a temperature above 0 for samples."
    )
    return {"finding": "repeats_collapsed", "count": collapsed, "distinct": distinct, "text": text}


def _replayed(db: Database, run: str, number: int, *, of: int, served: int) -> Finding:
    counts = {origin or "unknown": count for origin, count in db.execute(_ORIGINS, [run, number]).fetchall()}
    shares = {origin: count / sum(counts.values()) for origin, count in counts.items()}
    told = ", ".join(f"{share:.1%} from {_named(origin, run)}" for origin, share in shares.items())
    text = f"{served} of {of} answers ({served / of:.1%}) were served from the cache; of these came {told}."
    return {"finding": "replayed", "count": served, "of": of, "from": shares, "text": text}


def _named(origin: str, run: str) -> str:
    if origin == run:
        return "this run itself"
    return "answers that are deleted by now" if origin == "unknown" else f"run '{origin}'"


@dataclass(slots=True)
class _Group:
    """Requests that are equal but for their seed."""

    here: set[bytes] = field(default_factory=set)
    """Seeds of this pass."""
    elsewhere: set[bytes] = field(default_factory=set)
    """Seeds of other passes and runs."""
    hit: bool = False

    @property
    def never_hits(self) -> bool:
        """Whether this pass asked with none of the seeds that others asked with: a fixed list would come again."""
        return bool(self.here) and bool(self.elsewhere) and not self.hit and self.here.isdisjoint(self.elsewhere)


def _random_seeds(db: Database, run: str, number: int) -> list[Finding]:
    rows = db.execute(_NEIGHBORHOODS, [run, number, run, number]).fetchall()
    if len(rows) == _NEIGHBORS:  # of the last prompt some may be missing, and what is missing may be the proof
        rows = [row for row in rows if row[0] != rows[-1][0]]
    groups: dict[bytes, _Group] = defaultdict(_Group)
    for _, route, packed, served in rows:
        request = unpack(packed)
        if b'"seed"' not in request:
            continue
        document = parse(request).value
        if "seed" in document:
            seed = encode(document.pop("seed"))
            group = groups[route.encode() + encode(document)]
            (group.elsewhere if served is None else group.here).add(seed)
            group.hit = group.hit or bool(served)
    found = [group.here for group in groups.values() if group.never_hits]
    count = sum(map(len, found))
    if count < _FEWEST:
        return []
    text = (
        f"{count} requests for {len(found)} prompts (of at most {_PROMPTS} looked at) are equal to those of another"
        " pass or run but for 'seed', which is another one there: the harness sends a random seed, so that no pass"
        " finds them in the cache. Fix its seed, or remove the field (payload_modifier: params_to_remove)."
    )
    return [{"finding": "random_seeds", "count": count, "distinct": len(found), "text": text}]


def _lossy_shapes(db: Database, run: str, number: int) -> list[Finding]:
    quantity = quantities(db, run, number).get(LOSSY_SHAPES)
    if quantity is None:
        return []
    text = (
        f"{quantity.times} requests were asked though their answer is stored, because it is a stream and they are not,"
        " or the reverse, and something would be lost on the way: as a rule usage, which a stream has only with"
        " stream_options: {include_usage: true}. Ask in one shape only."
    )
    return [{"finding": LOSSY_SHAPES, "count": quantity.times, "text": text}]


def _mixed_identity(db: Database, run: str) -> list[Finding]:
    identities = state([db], run)["identities"]
    if len(identities) < 2:
        return []
    names = sorted({name for item in identities for name in item["facts"]})
    differ = {
        name: values for name in names if len(set(values := [item["facts"].get(name) for item in identities])) > 1
    }
    seen = "; ".join(f"{item['identity']} from {_time(item['first_at'])}" for item in identities)
    text = f"{len(identities)} model servers answered this run, so that its scores are a mixture: {seen}. " + (
        f"They differ in {', '.join(differ)}." if differ else "What they tell about themselves does not differ."
    )
    told = [{name: item[name] for name in ("identity", "server", "first_at")} for item in identities]
    return [
        {"finding": "mixed_identity", "count": len(identities), "identities": told, "differs": differ, "text": text}
    ]


def _verified(db: Database, run: str) -> list[Finding]:
    total, agreed = db.execute(_VERIFIED, [run]).fetchone()
    if not total:
        return []
    differed = total - agreed
    low, high = wilson(differed, total)
    text = (
        f"{differed} of {total} stored answers that were asked for again came out differently: {differed / total:.1%},"
        f" 95 % interval {low:.1%} to {high:.1%}"
    )
    examples = [
        {"key": key.hex(), "at": at, "differs": differs}
        for key, at, differs in db.execute(_DIFFERED, [run, _EXAMPLES]).fetchall()
    ]
    return [
        {
            "finding": "verify",
            "count": differed,
            "of": total,
            "agreed": agreed,
            "rate": differed / total,
            "interval": [low, high],
            "examples": examples,
            "text": text + ".",
        }
    ]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
