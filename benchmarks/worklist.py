"""The worklist of millions of studies: its top, the page's first page and filters, another reading order."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.database import fresh_services, result_of, study_of
from benchmarks.filled_ledger import APART, NEWEST, SITES, FilledLedger
from benchmarks.measuring import Figure, Say, in_turns, percentile, seconds_of
from db.reads import study_queries, worklist_page
from db.reads.worklist_page_records import WorklistFilter
from db.schema.vocabulary import WorklistClass
from db.schema.worklist import WorklistEntryRow
from db.writes import ledger
from worker.clinical.reading_order.policy import built_in, built_in_document
from worker.scoring.reading_policy import apply_policy
from worker.scoring.worklist_place import place_studies

ROWS = 50
"""Studies on a page."""

PAUSE_S = 0.5
"""Between two pages, and between two studies that arrive and end; in a region of 10 million a year that is 3 s."""

LARGEST, QUICK = 10_000_000, 100_000
_DAY = 86_400 // APART.seconds


def top(say: Say, *, quick: bool) -> Figure:
    """Seconds for the worklist's top 50 at 10 million studies, against 10,000; and at 1 million."""
    few, *more = (10_000, QUICK) if quick else (10_000, 1_000_000, LARGEST)
    times: dict[int, float] = {}
    with fresh_services(say) as small, fresh_services(say) as large:
        small_ledger, large_ledger = FilledLedger(small), FilledLedger(large)
        small_ledger.fill(few, say)
        for size in more:
            large_ledger.fill(size, say)
            ratio = in_turns(lambda: _top(large_ledger.writing), lambda: _top(small_ledger.writing), rounds=9)
            times |= {few: statistics.median(ratio.peers), size: statistics.median(ratio.ours)}
            say(f"{size:,} studies: the top {ROWS} in {1e3 * times[size]:.2f} ms, {ratio.median:.2f} of {few:,}'s")
        plan = large_ledger.explain(f"SELECT * FROM worklist WHERE position <= {ROWS}")
    return Figure(
        "worklist",
        f"top {ROWS} at {more[-1]:,} / at {few:,} studies, seconds",
        ratio.median,
        ratio.spread,
        ratio.median <= 1.5,
        ", ".join(f"{1e3 * times[size]:.1f} ms at {size:,}" for size in more),
        f"{1e3 * times[few]:.1f} ms at {few:,}",
        {"plan": plan, "milliseconds": {size: round(1e3 * seconds, 2) for size, seconds in times.items()}},
    )


def page(say: Say, *, quick: bool) -> Figure:
    """Milliseconds for what the worklist page reads first: 50 rows, the counts of the tiers, the list's state."""
    with _filled(say, quick=quick) as filled:
        taken = [1e3 * seconds_of(lambda: _first_page(filled.reading)) for _ in range(101)]
        plan = filled.explain(f"SELECT study_id FROM worklist_place WHERE NOT is_read LIMIT {ROWS + 1}")
    median, late = statistics.median(taken), percentile(taken, 0.95)
    return Figure(
        "worklist-page",
        f"ms for the page's first {ROWS} rows, the counts of its tiers and its state, at {filled.size:,} studies",
        median,
        (min(taken), max(taken)),
        median <= 50,
        f"median {median:.1f} ms, p95 {late:.1f} ms",
        "",
        {"plan": plan},
    )


def filters(say: Say, *, quick: bool) -> Figure:
    """Milliseconds for the slowest filter of the page: each alone, pairs, none that matches, and far behind."""
    with _filled(say, quick=quick) as filled:
        with filled.reading() as session:
            for wanted in _FILTERS.values():  # the file system's cache is warm on a server that is in use
                worklist_page.excerpt(session, wanted, ROWS)
        taken = {name: _milliseconds(filled.reading, wanted) for name, wanted in _FILTERS.items()}
        with filled.writing() as session:
            far = session.scalars(_IN_ORDER.offset(filled.size // 2).limit(1)).one().study_id
        taken["far behind"] = _milliseconds(filled.reading, WorklistFilter(), far)
        for name, milliseconds in taken.items():
            say(f"{name}: {milliseconds:.1f} ms")
    slowest = max(taken, key=lambda name: taken[name])
    return Figure(
        "worklist-filter",
        f"ms for {ROWS} rows of the page's slowest filter of {len(taken)}, at {filled.size:,} studies",
        taken[slowest],
        (min(taken.values()), taken[slowest]),
        taken[slowest] <= 200,
        f"{slowest}; median of all {statistics.median(taken.values()):.1f} ms",
        "",
        {"milliseconds": {name: round(milliseconds, 1) for name, milliseconds in taken.items()}},
    )


def policy_apply(say: Say, *, quick: bool) -> Figure:
    """Seconds to apply another policy, for 10 million studies; what the page and the workers wait meanwhile."""
    label = "outcome/1"
    with _filled(say, quick=quick) as filled:
        numbers = count(time.time_ns())
        reads, writes = (
            _Repeated(lambda: _first_page(filled.reading)),
            _Repeated(lambda: _ends(filled.writing, numbers)),
        )
        started = time.perf_counter()
        with reads, writes:
            apply_policy(
                filled.writing,
                built_in(label),
                built_in_document(label),
                "benchmark",
                lambda done: None if done % 500_000 else say(f"{done:,} studies are placed"),
            )
        seconds = (time.perf_counter() - started) * LARGEST / filled.size
        with filled.reading() as session:
            assert worklist_page.excerpt(session, WorklistFilter(), 1).rows[0].policy == label
    late, longest = (
        {name: of(one.taken) for name, one in (("page", reads), ("result", writes))}
        for of in (lambda taken: percentile(taken, 0.95), max)
    )
    return Figure(
        "policy-apply",
        f"s to apply another policy to 10 million studies, from {filled.size:,}; meanwhile the page is read and a"
        " study arrives and ends, each twice a second",
        seconds,
        None,
        seconds <= 600 and max(longest.values()) <= 1,
        f"{LARGEST / seconds:.0f} studies/s; p95 of a page {1e3 * late['page']:.0f} ms, of a study's arrival and "
        f"result {1e3 * late['result']:.0f} ms; longest {1e3 * longest['page']:.0f} and "
        f"{1e3 * longest['result']:.0f} ms",
        "",
    )


@contextmanager
def _filled(say: Say, *, quick: bool) -> Iterator[FilledLedger]:
    with fresh_services(say) as services:
        filled = FilledLedger(services)
        filled.fill(QUICK if quick else LARGEST, say)
        say("measures")
        yield filled


def _top(sessions: sessionmaker[Session]) -> float:
    def read() -> None:
        with sessions() as session:
            assert len(study_queries.worklist(session, ROWS)) == ROWS

    return statistics.median(seconds_of(read) for _ in range(20))


def _first_page(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        assert len(worklist_page.excerpt(session, WorklistFilter(), ROWS).rows) == ROWS
        assert len(worklist_page.tier_counts(session)) >= 5
        worklist_page.worklist_state(session)


def _milliseconds(sessions: sessionmaker[Session], wanted: WorklistFilter, behind: UUID | None = None) -> float:
    def read() -> None:
        with sessions() as session:
            worklist_page.excerpt(session, wanted, ROWS, behind)

    return 1e3 * statistics.median(seconds_of(read) for _ in range(5))


def _ends(sessions: sessionmaker[Session], numbers: Iterator[int]) -> None:
    """Record a study and its result, as intake and a worker do."""
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study_of(next(numbers))).study_id
        place_studies(session, [study_id])
    with sessions.begin() as session:
        claim = ledger.claim(session, [study_id], 3, lease_s=600).claims[study_id]
    with sessions.begin() as session:
        ledger.finish(session, [result_of(claim)])
        place_studies(session, [study_id])


class _Repeated:
    """Some work, done twice a second on a thread; ``taken`` are the seconds of each time."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.taken: list[float] = []
        self._ended = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._repeat, args=(work,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._broken is not None:
            raise self._broken

    def _repeat(self, work: Callable[[], None]) -> None:
        try:
            while not self._ended.wait(PAUSE_S):
                self.taken.append(seconds_of(work))
        except BaseException as broken:  # noqa: BLE001  raised where the work is waited for
            self._broken = broken


_IN_ORDER = (
    select(WorklistEntryRow)
    .where(~WorklistEntryRow.is_read)
    .order_by(
        WorklistEntryRow.policy_id,
        WorklistEntryRow.is_read,
        WorklistEntryRow.place_order,
        WorklistEntryRow.arrived_at,
        WorklistEntryRow.study_id,
    )
)


def _received(newest: int, oldest: int) -> dict[str, datetime]:
    """Return the conditions for the studies that arrived between these two, counted backwards."""
    return {"received_from": NEWEST - oldest * APART, "received_before": NEWEST - newest * APART}


_FILTERS = {
    "none": WorklistFilter(),
    "read or not": WorklistFilter(read=None),
    "read": WorklistFilter(read=True),
    **{f"tier {number}": WorklistFilter(tier=number) for number in range(1, 6)},
    **{f"state {word}": WorklistFilter(state=word) for word in ("queued", "running", "done", "partial", "failed")},
    **{f"priority {word}": WorklistFilter(priority=word) for word in ("stat", "urgent", "routine")},
    **{f"class {word.value}": WorklistFilter(worklist_class=word.value) for word in WorklistClass},
    **{f"a {size} site": WorklistFilter(site=site) for size, site in SITES.items()},
    "no such site": WorklistFilter(site="nowhere"),
    "a common scanner": WorklistFilter(scanner_model="Maker Model 3A"),
    "a rare scanner": WorklistFilter(scanner_model="Maker Model 9B"),
    "left": WorklistFilter(laterality="left"),
    "the last day": WorklistFilter(**_received(0, _DAY)),
    "a day": WorklistFilter(**_received(50_000, 50_000 + _DAY)),
    "a month": WorklistFilter(**_received(0, 30 * _DAY)),
    "no day": WorklistFilter(received_from=NEWEST),
    "a whole number": WorklistFilter(accession_number="A000012345"),
    "numbers that begin so": WorklistFilter(accession_number="a00001"),
    "numbers that all begin so": WorklistFilter(accession_number="a0"),
    "numbers that end so": WorklistFilter(accession_number="2345"),
    "no such number": WorklistFilter(accession_number="zz"),
    "the last tier of a small site": WorklistFilter(tier=5, site=SITES["small"]),
    "the last tier, upgraded": WorklistFilter(tier=5, worklist_class="upgraded"),
    "the last tier, failed": WorklistFilter(tier=5, state="failed"),
    "the last tier of a month": WorklistFilter(tier=5, **_received(0, 30 * _DAY)),
    "a site's day": WorklistFilter(site=SITES["medium"], **_received(0, _DAY)),
    "a scanner of another site": WorklistFilter(site=SITES["large"], scanner_model="Maker Model 9B"),
    "stat of a small site": WorklistFilter(priority="stat", site=SITES["small"]),
    "urgent and failed": WorklistFilter(priority="urgent", state="failed"),
    "a small site, read or not": WorklistFilter(site=SITES["small"], read=None),
    "a day, read": WorklistFilter(read=True, **_received(50_000, 50_000 + _DAY)),
    "a part of all tiers": WorklistFilter(tier=4, priority="routine", laterality="left", site=SITES["large"]),
}
