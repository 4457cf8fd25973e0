"""``dlr dataset import ledger``: what is on record, as a manifest."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.progress import progress_bar
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.dataset.finding import Finding
    from worker.dataset.importers.imported_dataset import Imported


def imported_ledger(
    output: Path,
    root: Path,
    key: Path,
    since: datetime | None,
    trained_on: Sequence[Path],
    excluding: "Sequence[Finding]",
    *,
    label_from_verdicts: bool,
) -> "Imported":
    """Make a manifest of the stored lesions with pathology or a verdict; pictures go into a folder beside it.

    Args:
        output: the manifest's path, which the pictures' folder is named by.
        root: what its paths are relative to.
        key: the file of the secret by which patients get their keys.
        since: only studies that arrived then or later.
        trained_on: manifests that versions in the registry may have been trained on; their paths are relative to their
            folders or, if none of the images is there, to the root.
        excluding: findings by which rows of these were left out in training.
        label_from_verdicts: label lesions without pathology by their final category.

    Raises:
        SetupRefused: ``dataset_invalid``.
        Unavailable: a server or the storage is away.
    """
    from worker.dataset.check import check
    from worker.dataset.importers.imported_dataset import Imported
    from worker.dataset.manifest_file import read_manifest_of
    from worker.dataset.opaque_names import key_of
    from worker.imaging.decoder_pool import DecoderPool
    from worker.imaging.image_source import ImageSource, remove_abandoned
    from worker.inference.registry import Registry
    from worker.rescoring.stored_images import StoredImages
    from worker.rescoring.training_manifest import LedgerImporter, versions_by_pixels
    from worker.runtime import sessions

    settings = get_settings()
    cards = [entry.card for entry in Registry(settings.models_dir).list()]
    with progress_bar("manifests") as on_progress:
        checked = [
            check(read_manifest_of(path, root), on_progress=on_progress, excluding=excluding) for path in trained_on
        ]
    versions, unknown = versions_by_pixels(checked, cards)
    remove_abandoned()
    decoders = DecoderPool(settings.limits, settings.decoders, settings.decode_timeout_s)
    images = StoredImages(
        ImageSource(settings.storage_root, settings.dicomweb, settings.pacs), decoders, settings.storage_root
    )
    importer = LedgerImporter(
        sessions(),
        images,
        output.with_name(f"{output.stem}-images"),
        root,
        key_of(key),
        label_from_verdicts=label_from_verdicts,
        trained_on=versions,
    )
    try:
        with progress_bar("studies") as on_progress:
            imported = importer.run(since, on_progress)
    finally:
        decoders.close()
    not_known = (
        f"not known, or not wholly, what these were trained on, so not all of it is marked: {', '.join(unknown)}"
    )
    return Imported(imported.rows, (*imported.notes, *([not_known] if unknown else [])))
