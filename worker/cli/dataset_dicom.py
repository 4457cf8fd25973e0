"""``dlr dataset import dicom``: a PACS export and a table of lesions, as a manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.progress import progress_bar

if TYPE_CHECKING:
    from worker.dataset.importers.imported_dataset import Imported
    from worker.dataset.importers.pacs_export import ExportedFile
    from worker.study import Lesion


def imported_dicom(source: Path, table: Path, output: Path, root: Path, key: Path) -> "Imported":
    """Make a manifest of the lesions of a table; their pictures go into a folder beside it.

    Args:
        source: the folder of the export.
        table: CSV, or a workbook.
        output: the manifest's path, which the pictures' folder is named by.
        root: what its paths are relative to.
        key: the file of the secret by which patients get their keys.

    Raises:
        SetupRefused: ``dataset_invalid``, ``setting_invalid``.
        Unavailable: ``storage_unavailable``.
    """
    from worker.dataset.importers.dicom import DicomImporter
    from worker.dataset.importers.lesion_table import read_lesion_table
    from worker.dataset.importers.pacs_export import read_export
    from worker.dataset.opaque_names import key_of

    lesions, secret = read_lesion_table(table), key_of(key)
    with progress_bar("files") as on_progress:
        export = read_export(source, on_progress)
    importer = DicomImporter(export, _marked, output.with_name(f"{output.stem}-images"), root, secret)
    with progress_bar("rows") as on_progress:
        return importer.run(lesions, on_progress)


def _marked(files: "Sequence[ExportedFile]") -> "Sequence[Lesion]":
    """Return the lesions that the SR, SEG or GSPS of a study mark, as the service reads them.

    Raises:
        Refused: one of them cannot be read.
    """
    from worker.errors import Code, StudyRefused
    from worker.image_access import DEFAULT_LIMITS
    from worker.intake.lesion_sources import Instance, find_lesions
    from worker.intake.tracked_lesions import as_in_a_job
    from worker.study import Lesion, MarkedImage

    instances = [Instance(file.path, file.identity) for file in files]
    if not any(instance.is_marking for instance in instances):
        return ()
    try:
        lesions = find_lesions(instances, DEFAULT_LIMITS).lesions
    except StudyRefused as refused:
        if refused.code is Code.LESIONS_MISSING:
            return ()
        raise
    names = [lesion["lesion_id"] for lesion in as_in_a_job(lesions)]
    return [
        Lesion(
            name,
            tuple(
                MarkedImage(view.region.sop_instance_uid, view.region.frame, view.region.roi, view.plane)
                for view in lesion.views
            ),
            lesion.birads,
        )
        for name, lesion in zip(names, lesions, strict=True)
    ]
