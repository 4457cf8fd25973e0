"""A study's result as a DICOM Encapsulated PDF (PS3.3, A.45.1), which many archives and EHRs show and nothing else."""

from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from worker import __version__
from worker.errors import Code, SetupRefused
from worker.reporting.dicom_header import MAKER, SERIES_DESCRIPTION, class_of, patient_and_study
from worker.reporting.identifiers import DEVICE, instance_uid, number_of, series_uid
from worker.reporting.pdf_pages import TITLE, pdf_pages
from worker.reporting.result import StudyResult
from worker.reporting.source_study import Source

KIND: Final = "pdf"
SERIES_NUMBER: Final = 9903


def encapsulated_pdf(result: StudyResult, source: Source) -> Dataset:
    """Make the document. The same result gives the same one, UIDs included.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files: patient, study and the images that it was made from.

    Returns:
        A data set with File Meta Information: Encapsulated PDF Storage, Explicit VR Little Endian.

    Raises:
        SetupRefused: ``setting_invalid``; the extra ``export`` is not installed.
    """
    try:
        content = pdf_pages(result, source)
    except ImportError:
        reason = "PDF needs the extra: pip install 'dlr-worker[export]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    dataset = patient_and_study(source.subject, result)
    _identify(dataset, result, source)
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = TITLE
    dataset.ConceptNameCodeSequence = []
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.SourceInstanceSequence = [_reference(*one) for one in _shown(source)]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(content)
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return dataset


def _identify(dataset: Dataset, result: StudyResult, source: Source) -> None:
    ending = result.endings[-1]
    moment = source.subject.local(ending.at)
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = instance_uid(ending, KIND)
    dataset.SeriesInstanceUID = series_uid(ending, KIND)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, number_of(result)
    dataset.SeriesDescription, dataset.Modality, dataset.ConversionType = SERIES_DESCRIPTION, "DOC", "WSD"
    dataset.Manufacturer = dataset.ManufacturerModelName = MAKER
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, DEVICE
    for name in ("InstanceCreation", "Content", "Series"):
        setattr(dataset, f"{name}Date", DA(moment.date()))
        setattr(dataset, f"{name}Time", TM(moment.time()))
    dataset.AcquisitionDateTime = ""
    if source.subject.timezone_offset:
        dataset.TimezoneOffsetFromUTC = source.subject.timezone_offset
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128


def _shown(source: Source) -> list[tuple[str, str]]:
    return [(class_of(image), image.sop_instance_uid) for image in source.images.values()]


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item
