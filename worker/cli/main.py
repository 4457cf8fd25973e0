"""The command ``dlr``: where every command is named, and where every error becomes a sentence and an exit status.

Exit status: 0 done; 1 refused, or a service is away (the sentence says which); 2 wrong usage; 3 done, and a person has
to look: a study ended failed, partial or refused, a row is bad or left out, a picture could not be made, `dlr backfill`
could not score a lesion, `dlr monitor`, `dlr replay` or `dlr report restratification` has an alert, or `dlr evaluate`
or `dlr models compare` found a cancer that is advised down; 130 interrupted; 141 nobody reads what is printed any more.
"""

import sys
from collections.abc import Callable

import typer

from worker import __version__
from worker.cli.on_demand import OnDemandGroup, Place
from worker.cli.standard_output import take_over
from worker.errors import DlrError


class _Commands(OnDemandGroup):
    places = (
        Place("up", "worker.cli.services", "up", "Start everything on this machine, until Ctrl-C."),
        Place("worker", "worker.cli.services", "worker", "Run one Celery worker."),
        Place("flower", "worker.cli.services", "flower", "Run Flower, to watch the workers."),
        Place("metrics", "worker.cli.watching", "metrics", "Serve the service's metrics for Prometheus."),
        Place("demo", "worker.cli.demo", "demo", "Run the whole service once, on phantom studies."),
        Place("demo-studies", "worker.cli.demo", "demo_studies", "Write phantom studies to practise with."),
        Place("receive", "worker.cli.incoming", "receive", "Receive studies by DICOM: a Storage SCP."),
        Place("watch", "worker.cli.incoming", "watch", "Hand in whatever is dropped into a folder."),
        Place("submit", "worker.cli.submit", "submit", "Hand in studies: job files, DICOM files or folders."),
        Place("worklist", "worker.cli.study", "worklist", "Show who is read first."),
        Place("show", "worker.cli.study", "show", "Show one study, with all that happened to it."),
        Place("export", "worker.cli.export", "export", "Write a study's result as DICOM SR, pictures, HL7 or FHIR."),
        Place("explain", "worker.cli.explain", "explain", "Show where a model looked in a lesion: Grad-CAM, as PNG."),
        Place(
            "health",
            "worker.cli.state",
            "health",
            "Answer a probe: are the servers there, or does this host's worker answer?",
        ),
        Place("doctor", "worker.cli.state", "doctor", "Look at every component, and say what is wrong."),
        Place(
            "settings",
            "worker.cli.state",
            "settings",
            "Show every setting and where it comes from; secrets stay hidden.",
        ),
        Place(
            "monitor",
            "worker.cli.monitor",
            "monitor",
            "Hold the advice against the study and against pathology; missed cancers first.",
        ),
        Place(
            "replay", "worker.cli.replay", "replay", "Say what other thresholds would have advised; nothing is changed."
        ),
        Place(
            "evaluate",
            "worker.cli.evaluate",
            "evaluate",
            "Say how good the models are on lesions with pathology; missed cancers first.",
        ),
        Place(
            "train",
            "worker.cli.train",
            "train",
            "Train a model on lesions with pathology; a stopped run goes on where it was.",
        ),
        Place("purge", "worker.cli.purge", "purge", "Remove the identifiers of studies that ended long ago."),
        Place("web", "worker.cli.web", "app", "Show the worklist to browsers; say who may sign in."),
        Place("failed", "worker.cli.failed", "app", "Studies that a person has to look at."),
        Place("pathology", "worker.cli.pathology", "app", "What pathology said of the lesions."),
        Place("report", "worker.cli.report", "app", "The study's Table S1 and Fig. S5, of lesions of one's own."),
        Place("dataset", "worker.cli.dataset", "app", "Lesions to train on: import, check, count, split."),
        Place("models", "worker.cli.models", "models", "The model registry."),
        Place(
            "demo-models",
            "worker.cli.models",
            "demo_models",
            "Make the demo models from a synthetic cohort; never for clinical use.",
        ),
        Place(
            "shadow", "worker.cli.rescoring", "app", "Score what arrives with shadows, beside the models in service."
        ),
        Place(
            "backfill",
            "worker.cli.rescoring",
            "backfill",
            "Score stored studies with another version too; both results stay.",
        ),
        Place("send", "worker.cli.send", "app", "Deliver results to a PACS, a worklist manager and a webhook."),
        Place("db", "worker.cli.database", "app", "The database's schema and addresses."),
        Place("redis", "worker.cli.redis", "app", "Redis's address, for who pushes jobs."),
        Place("schema", "worker.cli.schema", "schema", "Print the JSON Schema of a job (contract version 1)."),
    )


app = typer.Typer(
    cls=_Commands,
    name="dlr",
    help="Breast-ultrasound inference: studies in through Redis, an ordered worklist out of PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"dlr-worker {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Breast-ultrasound inference: studies in through Redis, an ordered worklist out of PostgreSQL."""


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
