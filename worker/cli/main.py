"""The command ``dlr``: where every command is named, and where every error becomes a sentence and an exit status.

Exit status: 0 done; 1 refused, or a service is away (the sentence says which); 2 wrong usage; 3 done, and a person has
to look: a study ended failed, partial or refused, a row is bad or left out, a picture could not be made, `dlr backfill`
could not score a lesion, `dlr monitor`, `dlr replay` or `dlr report restratification` has an alert, or `dlr evaluate`
or `dlr models compare` found a cancer that is advised down; 130 interrupted; 141 nobody reads what is printed any more.
"""

import errno
import sys
from collections.abc import Callable

import typer
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from db.errors import DatabaseRefused
from worker import __version__
from worker.cli import (
    compare,
    database,
    dataset,
    demo,
    evaluate,
    explain,
    export,
    failed,
    incoming,
    models,
    monitor,
    pathology,
    purge,
    replay,
    report,
    rescoring,
    send,
    services,
    state,
    study,
    train,
    watching,
    web,
)
from worker.cli.output import print_json, stderr
from worker.cli.standard_output import take_over
from worker.contract import job_schema
from worker.errors import DlrError

app = typer.Typer(
    name="dlr",
    help="Breast-ultrasound inference: studies in through Redis, an ordered worklist out of PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up", short_help="Start everything on this machine, until Ctrl-C.")(services.up)
app.command("worker", short_help="Run one Celery worker.")(services.worker)
app.command("flower", short_help="Run Flower, to watch the workers.")(services.flower)
app.command("metrics", short_help="Serve the service's metrics for Prometheus.")(watching.metrics)
app.command("demo", short_help="Run the whole service once, on phantom studies.")(demo.demo)
app.command("demo-studies", short_help="Write phantom studies to practise with.")(demo.demo_studies)
app.command("receive", short_help="Receive studies by DICOM: a Storage SCP.")(incoming.receive)
app.command("watch", short_help="Hand in whatever is dropped into a folder.")(incoming.watch)
app.command("submit", short_help="Hand in studies: job files, DICOM files or folders.")(study.submit)
app.command("worklist", short_help="Show who is read first.")(study.worklist)
app.command("show", short_help="Show one study, with all that happened to it.")(study.show)
app.command("export", short_help="Write a study's result as DICOM SR, pictures, HL7 or FHIR.")(export.export)
app.command("explain", short_help="Show where a model looked in a lesion: Grad-CAM, as PNG.")(explain.explain)
app.command("health", short_help="Answer a probe: are the servers there, or does this host's worker answer?")(
    state.health
)
app.command("doctor", short_help="Look at every component, and say what is wrong.")(state.doctor)
app.command("settings", short_help="Show every setting and where it comes from; secrets stay hidden.")(state.settings)
app.command("monitor", short_help="Hold the advice against the study and against pathology; missed cancers first.")(
    monitor.monitor
)
app.command("replay", short_help="Say what other thresholds would have advised; nothing is changed.")(replay.replay)
app.command("evaluate", short_help="Say how good the models are on lesions with pathology; missed cancers first.")(
    evaluate.evaluate
)
app.command("train", short_help="Train a model on lesions with pathology; a stopped run goes on where it was.")(
    train.train
)
app.command("purge", short_help="Remove the identifiers of studies that ended long ago.")(purge.purge)
app.add_typer(web.app, name="web", help="Show the worklist to browsers; say who may sign in.")
app.add_typer(failed.app, name="failed", help="Studies that a person has to look at.")
app.add_typer(pathology.app, name="pathology", help="What pathology said of the lesions.")
app.add_typer(report.app, name="report", help="The study's Table S1 and Fig. S5, of lesions of one's own.")
app.add_typer(dataset.app, name="dataset", help="Lesions to train on: import, check, count, split.")
models.models.command("compare")(compare.compare)
app.add_typer(models.models, name="models", help="The model registry.")
app.command("demo-models", short_help="Make the demo models from a synthetic cohort; never for clinical use.")(
    models.demo_models
)
app.add_typer(rescoring.app, name="shadow", help="Score what arrives with shadows, beside the models in service.")
app.command("backfill", short_help="Score stored studies with another version too; both results stay.")(
    rescoring.backfill
)
app.add_typer(send.app, name="send", help="Deliver results to a PACS, a worklist manager and a webhook.")
app.add_typer(database.app, name="db", help="The database's schema and addresses.")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a job (contract version 1)."""
    print_json(job_schema())


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
    except DatabaseRefused as refused:
        _say("setting_invalid", str(refused))
    except DBAPIError as error:
        _say("service_unavailable", _database_sentence(error))
    except (RedisError, BrokerError):
        _say(
            "service_unavailable",
            "Redis does not answer at DLR_REDIS_URL: is it running, and are address and password right? What was "
            "recorded before stays recorded: hand it in again to queue it",
        )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _say("setting_invalid", f"a file can not be written ({error.strerror})")
    except KeyboardInterrupt:
        sys.exit(130)


def _say(code: str, reason: str) -> None:
    stderr.print(f"error: {code}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


def _database_sentence(error: DBAPIError) -> str:
    state = getattr(error.orig, "pgcode", None)
    if state == "42P01":
        return "the database has no schema yet: run `dlr db upgrade`"
    if state is None:
        return (
            "PostgreSQL does not answer at DLR_DATABASE_URL: is it running (`dlr up`), "
            "and are address and password right?"
        )
    return f"PostgreSQL refused the request (SQLSTATE {state})"


if __name__ == "__main__":
    main()
