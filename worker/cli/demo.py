"""``dlr demo``: the whole service once, on phantom studies."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import Format, FormatOption, print_rows, stderr, stdout
from worker.cli.progress import counting_bar
from worker.errors import Code, SetupRefused
from worker.extras import is_installed, require_extra
from worker.settings import get_settings, isolated
from worker.training.config import DEMO_SEED


def demo(
    seed: Annotated[int, typer.Option(help="Seed of the phantoms; the same seed gives the same images")] = DEMO_SEED,
) -> None:
    """Run PostgreSQL, Redis, both workers and Flower, push 12 phantom studies and a damaged one, and show the results.

    Then say how much sooner cancers would be read, simulated on a cohort of phantoms. The demo has its own home,
    DLR_HOME/demo, and touches neither your studies nor your servers. Exit status 0: every study ended in the expected
    state.
    """
    for extra in ("worker", "embedded"):
        require_extra(extra, "`dlr demo`")
    from worker.cli.models import demo_models
    from worker.demo import run
    from worker.inference.registry import Registry

    demo_models()
    settings = get_settings()
    home = settings.home / "demo"
    with isolated():
        run.take_models(Registry(settings.models_dir), Registry(home / "models"))
        with run.demo_service(home, _say) as (services, supervisor):
            _say("writing and pushing the studies")
            made = run.push(services, seed)
            with counting_bar("studies", len(made)) as on_progress:
                run.wait_until_ended(services, supervisor, len(made), on_progress)
            answers, endings = run.answers(services), run.endings(services, made)
    for answer in answers:
        stdout.print(f"\n{answer.sql};\n", style="dim", markup=False, highlight=False)
        columns = list(answer.rows[0]) if answer.rows else []
        print_rows(answer.rows, columns, Format.TABLE, title=answer.title)
    if is_installed("train"):
        _print_waits(home, seed)
    wrong = [ending for ending in endings if not ending.is_right]
    for ending in wrong:
        _say(f"{ending.name}: ended {ending.state}, expected {ending.expected}")
    if wrong:
        raise typer.Exit(1)
    _say(f"{len(endings)} studies ended as expected. To keep a service running: dlr up")


def _print_waits(home: Path, seed: int) -> None:
    from worker.demo.phantom_list import phantoms_waiting, sentences

    _say("simulating how long phantoms would wait to be read")
    stdout.print("")
    for sentence in sentences(phantoms_waiting(home / "models", home, seed)):
        stdout.print(sentence, markup=False, highlight=False)


def demo_studies(
    folder: Annotated[Path, typer.Argument(help="Folder to create, with one folder per study in it")],
    seed: Annotated[int, typer.Option(help="Seed of the phantoms; the same seed gives the same images")] = DEMO_SEED,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Write 13 phantom studies to practise with: each a DICOM image and its lesions as JSON and as a DICOM SR.

    One image is damaged on purpose. They show no patient, and each has its own Study Instance UID.
    """
    from worker.demo.practice import write_practice
    from worker.demo.studies import STUDIES

    folders: list[Path] = []
    try:
        with counting_bar("studies", len(STUDIES)) as on_progress:
            for study in write_practice(folder, seed):
                folders.append(study)
                on_progress(len(folders))
    except OSError:  # of pydicom's, the number and the sentence are lost
        reason = f"{folder}: the studies cannot be written; check its free space and permissions"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    rows = [
        {"study": str(study), "files": ", ".join(sorted(file.name for file in study.iterdir()))} for study in folders
    ]
    print_rows(rows, ("study", "files"), fmt, title="studies to practise with")


def _say(line: str) -> None:
    stderr.print(line, markup=False, highlight=False)
