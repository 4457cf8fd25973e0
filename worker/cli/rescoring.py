"""``dlr shadow`` and ``dlr backfill``: stored lesions scored with versions that are not in service."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy import NullPool

from db.session import make_engine, session_factory
from db.writes import rescoring
from db.writes.rescoring import ScoreCounts, ScoresWanted
from worker.cli.failed import moment
from worker.cli.output import Format, Report, ReportOption, print_json, print_rows, stderr
from worker.cli.progress import counting_bar
from worker.extras import require_extra
from worker.inference.entry import Entry
from worker.inference.fit_to_serve import require_age_stage
from worker.inference.registry import Registry
from worker.rescoring.rescorer import Done, Rescorer
from worker.settings import Settings, get_settings

if TYPE_CHECKING:
    from worker.inference.single_model import SingleModel

EXIT_NOT_READ = 3
EXIT_INTERRUPTED = 130

LOWEST_PRIORITY = 19
COLUMNS = ("name", "version", "scored", "there_already", "left", "could_not_be", "why", "purged")

app = typer.Typer()


@app.callback(invoke_without_command=True)
def shadow(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Score what is there now, report, and stop")] = False,
) -> None:
    """Score new studies with the shadow models (`dlr models shadow`), until SIGTERM or Ctrl-C.

    Runs at the lowest priority, only while no study is waiting, one lesion at a time. Its scores never reach the
    worklist: its database role can only add them. Exit status 3, with `--once`: some lesions could not be scored.
    """
    if context.invoked_subcommand is not None:
        return
    from worker.logs import configure_logging
    from worker.outages.retry import Stopping, retry_while_away
    from worker.rescoring.shadows import Shadows
    from worker.runtime import rescorer

    require_extra("worker", "dlr shadow")
    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    registry = Registry(settings.models_dir)
    with _unobtrusive():
        shadows = Shadows(registry, rescorer(), partial(_load, settings))
        if once:
            done = shadows.look()
            rows = _rows(shadows.rescorer, registry.shadows(), done, lambda entry: entry.shadow_since)
            _print(rows, done, Report.TABLE, None, title="shadows")
            raise typer.Exit(EXIT_NOT_READ if _is_incomplete(rows, done) else 0)
        stderr.print("scoring new studies with the shadows", highlight=False)
        try:
            retry_while_away(shadows.run)
        except Stopping:
            return


@app.command()
def health() -> None:
    """Health check. Exit status 0: a `dlr shadow` has polled the database within three minutes."""
    from worker.doctor.postgresql import SILENT_S
    from worker.runtime import SHADOW_NAME

    engine = make_engine(get_settings().require_shadow_database_url(), role=None, poolclass=NullPool)
    with session_factory(engine)() as session:
        raise typer.Exit(0 if rescoring.is_at_work(session, SHADOW_NAME, SILENT_S) else 1)


def backfill(
    model: Annotated[str, typer.Option(metavar="[NAME/]VERSION", help="Version of both models, or of the named one")],
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only studies received since then: ISO 8601, or 90d (ago)"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of scores, the latest lesions first")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also retry lesions that could not be scored before")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how many lesions there are to score")] = False,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Score stored studies with another version as well. Both results are kept; the worklist does not change.

    Runs at the lowest priority, only while no study is waiting. Every score is kept at once: run it again to resume.
    Exit status 3: some lesions could not be scored. 130: it was interrupted.
    """
    require_extra("worker", "dlr backfill")
    settings = get_settings()
    settings.require_shadow_database_url()
    entries = Registry(settings.models_dir).named(model)
    for entry in entries:
        require_age_stage(entry.card)
    from worker.runtime import rescorer

    filler = _Backfill(rescorer(), entries, settings, since)
    with _unobtrusive():
        done = Done() if dry_run else filler.run(limit, again=again)
        rows = _rows(filler.rescorer, entries, done, lambda _: since)
    _print(rows, done, fmt, since, title="lesions to score" if dry_run else "backfill")
    if filler.rescorer.stopped.is_set():
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_NOT_READ if _is_incomplete(rows, done) and not dry_run else 0)


@dataclass(frozen=True, slots=True)
class _Backfill:
    rescorer: Rescorer
    entries: Sequence[Entry]
    settings: Settings
    since: datetime | None

    def run(self, limit: int | None, *, again: bool) -> Done:
        loaded = [(entry, _load(self.settings, entry)) for entry in self.entries]
        models = {self._register(entry): model for entry, model in loaded}
        wanted = [ScoresWanted(key, self.since) for key in models]
        with self.rescorer.sessions() as session:
            stands = [rescoring.score_counts(session, one) for one in wanted]
        total = sum(one.missing + (sum(one.refused.values()) if again else 0) for one in stands)
        with counting_bar("scoring", total if limit is None else min(limit, total)) as advance:
            waited = Event()

            def on_progress(done: Done, waits: bool) -> None:
                if waits and not waited.is_set():
                    stderr.print("paused while studies are waiting; it resumes by itself", highlight=False)
                    waited.set()
                advance(done.lesions)

            return replace(self.rescorer, on_progress=on_progress).run(models, wanted, limit=limit, again=again)

    def _register(self, entry: Entry) -> int:
        with self.rescorer.sessions.begin() as session:
            return rescoring.register(session, entry.card.record())


def _load(settings: Settings, entry: Entry) -> "SingleModel":
    from worker.inference.devices import choose_device
    from worker.inference.single_model import SingleModel

    return SingleModel(entry, choose_device(settings.shadow_device))


@contextmanager
def _unobtrusive() -> Iterator[None]:
    """Have the lowest priority and one core; the first SIGTERM or Ctrl-C ends the work at the next lesion."""
    import torch

    from worker.outages.retry import stopping

    os.nice(LOWEST_PRIORITY)
    torch.set_num_threads(1)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stopping.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rows(
    rescorer: Rescorer, entries: Sequence[Entry], done: Done, since_of: Callable[[Entry], datetime | None]
) -> list[dict[str, Any]]:
    """What was done and how far each version is, by what is on record now."""
    rows = []
    with rescorer.sessions() as session:
        for entry in entries:
            name, version = entry.card.name, entry.card.version
            key = rescoring.known_key(session, name, version)
            stand = rescoring.score_counts(session, ScoresWanted(-1 if key is None else key, since_of(entry)))
            rows.append({"name": name, "version": version} | _counts(stand, 0 if key is None else done.scored[key]))
    return rows


def _is_incomplete(rows: Sequence[dict[str, Any]], done: Done) -> bool:
    return bool(done.away) or any(row["could_not_be"] for row in rows)


def _counts(stand: ScoreCounts, scored: int) -> dict[str, Any]:
    return {
        "scored": scored,
        "there_already": stand.scored - scored,
        "left": stand.missing,
        "could_not_be": sum(stand.refused.values()),
        "refused": stand.refused,
        "purged": stand.purged,
    }


def _print(rows: Sequence[dict[str, Any]], done: Done, fmt: Report, since: datetime | None, title: str) -> None:
    if fmt is Report.JSON:
        print_json({"since": since, "models": rows, "studies_away": done.away})
        return
    shown = [row | {"why": ", ".join(f"{code} {count}" for code, count in row["refused"].items())} for row in rows]
    print_rows(shown, COLUMNS, Format.TABLE, title=title)
    if done.away:
        stderr.print(
            f"the images of {done.away} studies cannot be reached at the moment: run it again later", highlight=False
        )
