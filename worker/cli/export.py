"""``dlr export``: a study's result as a document."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import say, write_file
from worker.cli.study_arguments import StudyArgument
from worker.errors import Code, SetupRefused, StudyRefused
from worker.imaging.image_source import ImageSource
from worker.reporting.documents import TEXTS, Camera, Document, Kind, documents_of
from worker.reporting.result import StudyResult, read_results
from worker.reporting.source_study import opened
from worker.settings import Settings, get_settings


def export(
    study: StudyArgument,
    kind: Annotated[
        Kind,
        typer.Option(
            "--format",
            "-f",
            help="DICOM SR, DICOM pictures of the lesions (SC), HL7 v2.5.1 ORU^R01, FHIR R4 or DICOM PDF",
        ),
    ] = Kind.SR,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File, or folder for pictures or several studies (default: text goes to standard output)",
        ),
    ] = None,
    grad_cam: Annotated[
        bool,
        typer.Option("--grad-cam", help="With sc: add Grad-CAM heat maps, if the models are still there (dlr explain)"),
    ] = False,
) -> None:
    """Write a study's result as a document for other systems. A recommendation, never a diagnosis.

    Patient and study data come from the headers of its images, which must still be in the storage.
    """
    from worker.logs import configure_logging
    from worker.runtime import sessions

    if output is None and kind not in TEXTS:
        raise typer.BadParameter(f"{kind} is not text: give a file or folder", param_hint="--output")
    settings = get_settings()
    configure_logging("ERROR", "text")  # what libraries log may quote a header
    with sessions()() as session:
        results = read_results(session, study)
    if output is None and len(results) > 1:
        ids = ", ".join(str(result.study_id) for result in results)
        reason = (
            f"standard output takes one document, and {len(results)} studies match: name one of {ids}, or give --output"
        )
        raise StudyRefused(Code.STUDY_AMBIGUOUS, reason)
    drawn_by = camera(settings, grad_cam=grad_cam) if kind is Kind.SC else None
    documents = [document for result in results for document in _documents(result, kind, settings, drawn_by)]
    if output is None:
        (document,) = documents
        _print(document)
        return
    for path in _write(documents, output, folder=kind is Kind.SC or len(documents) > 1):
        say(f"written: {path}")


def _documents(result: StudyResult, kind: Kind, settings: Settings, drawn_by: Camera | None) -> list[Document]:
    images = ImageSource(settings.storage_root, settings.dicomweb, settings.pacs)
    with opened(result, images, settings.limits) as source:
        return documents_of(kind, result, source, drawn_by)


def camera(settings: Settings, *, grad_cam: bool) -> Camera:
    """Return what pictures are made with: decoders, as a worker has them, and the models' versions on the CPU.

    Args:
        settings: where the registry is, and how decoders are run.
        grad_cam: say where models looked.

    Raises:
        SetupRefused: ``setting_invalid``; the extra ``worker`` is not installed.
    """
    from worker.runtime import decoders

    try:
        from worker.reporting.frames import frame_reader

        frames = frame_reader(decoders())
        if not grad_cam:
            return Camera(frames)
        from worker.inference.gradcam import GradCam
    except ImportError:
        reason = "pictures need the extra: pip install 'dlr-worker[worker]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return Camera(frames, GradCam(settings.models_dir))


def _print(document: Document) -> None:
    text = document.content
    # HL7 ends a segment with a carriage return, which a terminal would print the next one over.
    sys.stdout.buffer.write(text.replace(b"\r", b"\n") if sys.stdout.isatty() else text)


def _write(documents: Sequence[Document], output: Path, *, folder: bool) -> list[Path]:
    """Write documents into a folder, or the only one to a file; each appears at once, or not at all."""
    into_folder = folder or output.is_dir()
    written = []
    for document in documents:
        path = output / document.name if into_folder else output
        write_file(path, document.content)  # its owner's alone: it names a patient
        written.append(path)
    return written
