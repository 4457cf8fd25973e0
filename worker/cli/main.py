"""The command ``dlr``: where every command is named, and where every error becomes a sentence and an exit status.

Exit status: 0 done; 1 refused, or a service is down (the message says which); 2 wrong usage; 3 done, but a person has
to look: a study failed, is partial or was refused, a row is bad or was left out, a picture could not be made,
`dlr backfill` could not score a lesion, `dlr monitor`, `dlr replay` or `dlr report restratification` raised an alert,
`dlr evaluate` or `dlr models compare` found a cancer that is advised down, or `dlr backup` found something that is
missing or different; 130 interrupted; 141 whoever read the
output has gone.
"""

import sys
from collections.abc import Callable
from typing import Any

import typer

from worker import __version__
from worker.cli.lazy_commands import MARKUP, Entry, LazyGroup
from worker.cli.standard_output import take_over
from worker.errors import DlrError


class _Commands(LazyGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read ``--version`` last of the options: it prints at once, as those beside it say."""
        if args and args[0].startswith("-") and "--version" in args:
            args = [*(word for word in args if word != "--version"), "--version"]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    panels = {  # noqa: RUF012
        "Run the service": (
            Entry("up", "worker.cli.services", "up", "Start everything on this machine."),
            Entry("worker", "worker.cli.services", "worker", "Run a Celery worker."),
            Entry("web", "worker.cli.web", "app", "Serve the worklist page; manage its accounts."),
            Entry("api", "worker.cli.api", "app", "Serve the HTTP interface; manage its tokens."),
            Entry("flower", "worker.cli.services", "flower", "Run Flower, to watch the workers."),
            Entry("metrics", "worker.cli.metrics", "metrics", "Export metrics for Prometheus."),
            Entry("demo", "worker.cli.demo", "demo", "Run the whole service once on phantom studies."),
        ),
        "Submit studies": (
            Entry("submit", "worker.cli.submit", "submit", "Submit job files, DICOM files or folders."),
            Entry("receive", "worker.cli.incoming", "receive", "Receive studies by DICOM C-STORE (a Storage SCP)."),
            Entry("listen", "worker.cli.listening", "listen", "Receive orders by HL7 (MLLP), and fetch their studies."),
            Entry("perform", "worker.cli.performing", "app", "Perform the work items of a UPS manager."),
            Entry("watch", "worker.cli.incoming", "watch", "Submit whatever is dropped into a folder."),
            Entry("schema", "worker.cli.schema", "schema", "Print the JSON Schema of a job."),
            Entry("demo-studies", "worker.cli.demo", "demo_studies", "Write phantom studies to practise with."),
        ),
        "Read and send results": (
            Entry("worklist", "worker.cli.worklist", "app", "Show the worklist; change its reading order."),
            Entry("show", "worker.cli.study", "show", "Show a study: lesions, scores, advice, history."),
            Entry("failed", "worker.cli.failed", "app", "List, requeue or discard failed studies."),
            Entry("explain", "worker.cli.explain", "explain", "Draw Grad-CAM heat maps of a study's lesions."),
            Entry("export", "worker.cli.export", "export", "Write a result as DICOM SR or SC, HL7 or FHIR."),
            Entry("send", "worker.cli.send", "app", "Deliver results to PACS, RIS and others."),
        ),
        "Watch the advice": (
            Entry("monitor", "worker.cli.monitor", "monitor", "Check for missed cancers and drifting rates."),
            Entry("pathology", "worker.cli.pathology", "app", "Import and list pathology results."),
            Entry("verdict", "worker.cli.verdict", "app", "Import and list radiologists' verdicts."),
            Entry("replay", "worker.cli.replay", "replay", "Show what other thresholds would have advised."),
            Entry("report", "worker.cli.report", "app", "Compute Table S1, Fig. S5 and waits for reading."),
        ),
        "Models": (
            Entry("models", "worker.cli.models", "models", "Add, activate, compare and check models."),
            Entry("evaluate", "worker.cli.evaluate", "evaluate", "Evaluate models on lesions with known pathology."),
            Entry("shadow", "worker.cli.rescoring", "app", "Score new studies with shadow models."),
            Entry("backfill", "worker.cli.rescoring", "backfill", "Score stored studies with another version."),
            Entry("dataset", "worker.cli.dataset", "app", "Import, validate and split training data."),
            Entry("train", "worker.cli.train", "train", "Train a model; resume an interrupted run."),
            Entry("demo-models", "worker.cli.models", "demo_models", "Train the demo models; never for clinical use."),
        ),
        "Administer": (
            Entry("doctor", "worker.cli.health", "doctor", "Check every component and say what is wrong."),
            Entry("health", "worker.cli.health", "health", "Health checks, for probes."),
            Entry("settings", "worker.cli.health", "settings", "Show every setting and where it comes from."),
            Entry("db", "worker.cli.database", "app", "Migrate and check the database; print its URL."),
            Entry("backup", "worker.cli.backup", "app", "Back up and restore the database and models."),
            Entry("redis", "worker.cli.redis", "app", "Print the embedded Redis's URL."),
            Entry("purge", "worker.cli.purge", "purge", "Remove the identifiers of old studies."),
        ),
    }


app = typer.Typer(
    cls=_Commands,
    name="dlr",
    help="Score breast-ultrasound studies from a Redis queue and keep an ordered worklist in PostgreSQL.",
    rich_markup_mode=MARKUP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(ctx: typer.Context, value: bool) -> None:
    if not value:
        return
    if ctx.params.get("verbose"):
        _print_versions(ctx.params.get("fmt") or "table")
    else:
        sys.stdout.write(f"dlr-worker {__version__}\n")
    raise typer.Exit


def _print_versions(fmt: str) -> None:
    from worker.cli.output import Format, print_rows
    from worker.doctor.versions import versions

    if fmt not in list(Format):
        raise typer.BadParameter(f"--format is one of {', '.join(Format)}")
    print_rows([row._asdict() for row in versions()], ("component", "version", "detail"), Format(fmt), title="versions")


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
    verbose: bool = typer.Option(
        False, "--verbose", is_eager=True, help="With --version: of everything, the lock's hash and the schema's head."
    ),
    fmt: str | None = typer.Option(
        None, "--format", is_eager=True, metavar="[table|json|csv]", help="With --version --verbose: how to print it."
    ),
) -> None:
    """Score breast-ultrasound studies from a Redis queue and keep an ordered worklist in PostgreSQL."""
    del version
    if verbose or fmt is not None:
        raise typer.BadParameter("--verbose and --format before a command go with --version")


def main() -> None:
    """Run a command; print an error as one sentence on standard error."""
    take_over()
    try:
        _run(app)
    finally:
        _run(sys.stdout.flush)


def _run(work: Callable[[], object]) -> None:
    try:
        work()
    except DlrError as error:
        _say(error.code.value, error.reason)
    except Exception as error:
        from worker.cli.sentences import sentence_of

        sentence = sentence_of(error)
        if sentence is None:
            raise
        _say(*sentence)
    except KeyboardInterrupt:
        sys.exit(130)


def _say(code: str, reason: str) -> None:
    from worker.cli.output import stderr

    stderr.print(f"error: {code}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
