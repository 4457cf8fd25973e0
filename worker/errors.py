"""Every way in which work is refused, as one small tree and one table of codes.

    DlrError
    ├── Refused            a retry can not mend it: the study or the lesion ends here, with its code
    │   ├── JobRefused         the message itself
    │   ├── StudyRefused       the study's files
    │   ├── LesionRefused      one lesion; its neighbours go on
    │   ├── ModelRefused       a model's card or weights
    │   └── SetupRefused       this installation: a setting, a server, a schema
    └── Unavailable        a retry can mend it: a server or a disk that is away

An exception prints its code alone: whatever logs it or sends it to Flower can not leak an identifier. The sentence
for a person is in ``reason`` and is stored in the database.
"""

from enum import StrEnum


class Code(StrEnum):
    """Stable codes. A code is never renamed, and never used for something else."""

    JOB_INVALID = "job_invalid"
    JOB_VERSION_UNSUPPORTED = "job_version_unsupported"
    JOB_TOO_LARGE = "job_too_large"
    MESSAGE_UNDECODABLE = "message_undecodable"
    TASK_UNKNOWN = "task_unknown"
    PATH_OUTSIDE_STORAGE = "path_outside_storage"

    FILE_NOT_FOUND = "file_not_found"
    FILE_NOT_REGULAR = "file_not_regular"
    FILE_NOT_READABLE = "file_not_readable"
    FILE_TOO_LARGE = "file_too_large"
    FILE_NOT_DICOM = "file_not_dicom"
    FILE_TRUNCATED = "file_truncated"
    STUDY_UID_MISSING = "study_uid_missing"
    STUDY_UID_MISMATCH = "study_uid_mismatch"
    PATIENT_MISMATCH = "patient_mismatch"
    SOP_INSTANCE_NOT_FOUND = "sop_instance_not_found"
    SOP_INSTANCE_AMBIGUOUS = "sop_instance_ambiguous"

    DICOMWEB_SERVER_UNKNOWN = "dicomweb_server_unknown"
    DICOMWEB_FAILED = "dicomweb_failed"

    LESIONS_MISSING = "lesions_missing"
    REPORT_INVALID = "report_invalid"
    REPORT_UNSUPPORTED = "report_unsupported"
    BIRADS_UNKNOWN = "birads_unknown"

    MODALITY_NOT_ULTRASOUND = "modality_not_ultrasound"
    PIXELS_MISSING = "pixels_missing"
    PIXELS_TOO_LARGE = "pixels_too_large"
    PIXELS_UNDECODABLE = "pixels_undecodable"
    PIXELS_UNIFORM = "pixels_uniform"
    TRANSFER_SYNTAX_UNSUPPORTED = "transfer_syntax_unsupported"
    TRANSFER_SYNTAX_MISMATCH = "transfer_syntax_mismatch"
    PHOTOMETRIC_UNSUPPORTED = "photometric_unsupported"
    DECODER_CRASHED = "decoder_crashed"
    DECODE_TIMEOUT = "decode_timeout"
    IMAGE_CHANGED = "image_changed"
    FRAME_NOT_GIVEN = "frame_not_given"
    FRAME_NOT_FOUND = "frame_not_found"
    ROI_OUTSIDE_IMAGE = "roi_outside_image"

    DOPPLER_IN_ROI = "doppler_in_roi"
    COLOUR_IN_ROI = "colour_in_roi"
    DUAL_VIEW_SEAM_IN_ROI = "dual_view_seam_in_roi"
    OVERLAY_IN_ROI = "overlay_in_roi"
    ROI_OUTSIDE_BMODE = "roi_outside_bmode"
    ROI_TOO_SMALL = "roi_too_small"
    ROI_BLANK = "roi_blank"
    ROI_SATURATED = "roi_saturated"

    AGE_MISSING = "age_missing"
    AGE_IMPLAUSIBLE = "age_implausible"
    AGE_CONTRADICTORY = "age_contradictory"
    AGE_OUT_OF_RANGE = "age_out_of_range"

    SCORES_NOT_FINITE = "scores_not_finite"
    INFERENCE_FAILED = "inference_failed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    INTERNAL_ERROR = "internal_error"

    PATHOLOGY_INVALID = "pathology_invalid"
    ROW_INVALID = "row_invalid"
    STUDY_AMBIGUOUS = "study_ambiguous"
    STUDY_NOT_CURRENT = "study_not_current"
    LESION_NOT_FOUND = "lesion_not_found"
    RESULT_CONTRADICTORY = "result_contradictory"
    POLICY_INVALID = "policy_invalid"
    SCORES_INVALID = "scores_invalid"
    LESIONS_TOO_FEW = "lesions_too_few"

    DATASET_INVALID = "dataset_invalid"
    MASK_INVALID = "mask_invalid"
    ROW_REPEATED = "row_repeated"
    LABEL_CONTRADICTORY = "label_contradictory"
    IMAGE_REPEATED = "image_repeated"
    SPLIT_LEAKS = "split_leaks"
    SPLIT_IMPOSSIBLE = "split_impossible"

    CONFIG_INVALID = "config_invalid"
    TRAINING_DIFFERS = "training_differs"
    TRAINING_DIVERGED = "training_diverged"
    WEIGHTS_UNAVAILABLE = "weights_unavailable"

    CARD_INVALID = "card_invalid"
    WEIGHTS_MISSING = "weights_missing"
    WEIGHTS_HASH_MISMATCH = "weights_hash_mismatch"
    WEIGHTS_SHAPE_MISMATCH = "weights_shape_mismatch"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_EXISTS = "model_exists"
    MODEL_NOT_ACTIVE = "model_not_active"
    MODEL_IS_ACTIVE = "model_is_active"
    MODEL_UNMEASURED = "model_unmeasured"
    NO_EARLIER_VERSION = "no_earlier_version"

    SETTING_INVALID = "setting_invalid"
    STUDY_NOT_FOUND = "study_not_found"
    STUDY_NOT_ENDED = "study_not_ended"
    RESULT_MISSING = "result_missing"
    DOCUMENT_REFUSED = "document_refused"
    ALREADY_RUNNING = "already_running"
    SERVICE_UNAVAILABLE = "service_unavailable"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    DICOMWEB_UNAVAILABLE = "dicomweb_unavailable"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    DESTINATION_REFUSED = "destination_refused"
    DEVICE_UNAVAILABLE = "device_unavailable"


MEANINGS: dict[Code, str] = {
    Code.JOB_INVALID: "The job does not follow the contract; the reason names the field. Correct it and push it again.",
    Code.JOB_VERSION_UNSUPPORTED: "The job's schema_version is not one that this worker reads (`dlr schema`).",
    Code.JOB_TOO_LARGE: "The message is larger than DLR_MAX_MESSAGE_BYTES. A job holds references, never pixels.",
    Code.MESSAGE_UNDECODABLE: "The message is not JSON of Celery's protocol 2, so nothing in it was read.",
    Code.TASK_UNKNOWN: "The message names a task that this worker does not have.",
    Code.PATH_OUTSIDE_STORAGE: "A path leads out of DLR_STORAGE_ROOT. Paths are relative to it.",
    Code.FILE_NOT_FOUND: "No file at that path under DLR_STORAGE_ROOT.",
    Code.FILE_NOT_REGULAR: "The path is a folder, a device or a pipe, not a file.",
    Code.FILE_NOT_READABLE: "The worker's user may not read the file. Mend its permissions and push the study again.",
    Code.FILE_TOO_LARGE: "The file is larger than DLR_MAX_FILE_BYTES, or inflates to more than DLR_MAX_INFLATED_BYTES.",
    Code.FILE_NOT_DICOM: "The file is not DICOM (PS3.10): no readable File Meta Information and data set.",
    Code.FILE_TRUNCATED: "The file ends in the middle of a DICOM element. Send it again.",
    Code.STUDY_UID_MISSING: "The file has no Study Instance UID, so it can not be said whose study it is.",
    Code.STUDY_UID_MISMATCH: "A file belongs to another Study Instance UID than the job says.",
    Code.PATIENT_MISMATCH: "The study's files name more than one patient.",
    Code.SOP_INSTANCE_NOT_FOUND: "No file of the study has the SOP Instance UID of a lesion's image, or segmentation.",
    Code.SOP_INSTANCE_AMBIGUOUS: "Two different files claim the SOP Instance UID of a lesion's image, or segmentation.",
    Code.DICOMWEB_SERVER_UNKNOWN: "The worker's DLR_DICOMWEB_SERVERS has no server of the name that the job gives.",
    Code.DICOMWEB_FAILED: "The DICOMweb server refused the request for good, or its answer is not what PS3.18 says.",
    Code.LESIONS_MISSING: "No DICOM SR (TID 1500), SEG or GSPS of the study has a lesion with a region and a category.",
    Code.REPORT_INVALID: "A DICOM SR of TID 1500, SEG or GSPS can not be read as such. Mend it and send it.",
    Code.REPORT_UNSUPPORTED: "A lesion of a DICOM SR, SEG or GSPS is marked as is not read; the reason says which.",
    Code.BIRADS_UNKNOWN: "A finding's assessment is no BI-RADS category of PS3.16's CID 6027, or 4 without its letter.",
    Code.MODALITY_NOT_ULTRASOUND: "The image's Modality is not ultrasound (US).",
    Code.PIXELS_MISSING: "The file holds no pixels: no Pixel Data, or zero rows or columns.",
    Code.PIXELS_TOO_LARGE: "The header declares a frame larger than DLR_MAX_FRAME_PIXELS, or more pixels than allowed.",
    Code.PIXELS_UNDECODABLE: "The pixel data can not be decoded as its transfer syntax says.",
    Code.PIXELS_UNIFORM: "Every pixel of the lesion's region has the same value: there is nothing to score.",
    Code.TRANSFER_SYNTAX_UNSUPPORTED: "The pixel data's transfer syntax is not one that this worker decodes.",
    Code.TRANSFER_SYNTAX_MISMATCH: (
        "The file is not in the transfer syntax that its header names; the reason says in which. Have it written anew."
    ),
    Code.PHOTOMETRIC_UNSUPPORTED: "The photometric interpretation or the sample layout is not supported.",
    Code.DECODER_CRASHED: "Reading the file ended its decoder process twice: a crash, or more memory than it may have.",
    Code.DECODE_TIMEOUT: "Reading the file took longer than DLR_DECODE_TIMEOUT_S.",
    Code.IMAGE_CHANGED: "A file is not what it was when it was scored: hand it in again.",
    Code.FRAME_NOT_GIVEN: "The file has several frames and the lesion does not say which one.",
    Code.FRAME_NOT_FOUND: "The file has fewer frames than the lesion's frame number.",
    Code.ROI_OUTSIDE_IMAGE: "The lesion's ROI does not lie within the image.",
    Code.DOPPLER_IN_ROI: "The lesion's region shows Doppler, and the models read B-mode. Mark it on a plain image.",
    Code.COLOUR_IN_ROI: "The lesion's region is coloured (elastography, Doppler, a tint). Mark it on a plain image.",
    Code.DUAL_VIEW_SEAM_IN_ROI: "The lesion's region crosses from one view to the next. Mark it in one of them.",
    Code.OVERLAY_IN_ROI: "Calipers or text seem to be burned into the lesion's region. Send the image without them.",
    Code.ROI_OUTSIDE_BMODE: "Over 5 % of the lesion's ROI is outside of the B-mode regions that the header gives.",
    Code.ROI_TOO_SMALL: "A side of the lesion's region has fewer than 16 pixels. Mark it on a magnified image.",
    Code.ROI_BLANK: "The lesion's region has hardly any contrast (under 8 grey levels). See whether the ROI is right.",
    Code.ROI_SATURATED: "Over 10 % of the lesion's region is clipped at white, so its texture is lost.",
    Code.AGE_MISSING: "No age: none in the job, no Patient's Age, no birth date with a study date.",
    Code.AGE_IMPLAUSIBLE: "Patient's Age or the dates can not be an age (`000Y`, a birth after the study).",
    Code.AGE_CONTRADICTORY: "The job's age and the header's differ by more than a year.",
    Code.AGE_OUT_OF_RANGE: "The age is outside 0 to 120 years.",
    Code.SCORES_NOT_FINITE: "A model gave a score that is not a finite number.",
    Code.INFERENCE_FAILED: "The device refused this lesion, alone in its batch.",
    Code.ATTEMPTS_EXHAUSTED: "The study stopped its worker, or failed, as many times as DLR_MAX_ATTEMPTS allows.",
    Code.INTERNAL_ERROR: "A defect of this software. Its place in the code is in study_event; please report it.",
    Code.PATHOLOGY_INVALID: "The file of pathology results, or a row of it, can not be read; nothing was kept.",
    Code.ROW_INVALID: "A field of the row is missing or wrong; the reason names the field and not its value.",
    Code.STUDY_AMBIGUOUS: "Several studies are named so. Name the one by its whole id or its Study Instance UID.",
    Code.STUDY_NOT_CURRENT: "The id is that of a revision that another replaced, or of a purged study.",
    Code.LESION_NOT_FOUND: "The study has no lesion of that name (`dlr show`).",
    Code.RESULT_CONTRADICTORY: "The file reports this lesion on one day in two ways. Leave the right one in it.",
    Code.POLICY_INVALID: "The policy can not be read or does not follow its schema; the reason names the field.",
    Code.SCORES_INVALID: "The table of scores, or a row of it, can not be read; nothing was evaluated.",
    Code.LESIONS_TOO_FEW: "There is nothing to evaluate: it takes benign and malignant lesions with a model's scores.",
    Code.DATASET_INVALID: "The manifest, or what is to be imported, can not be read, or is not laid out as said.",
    Code.MASK_INVALID: "The lesion's mask can not be read, is empty, or is not as large as its image.",
    Code.ROW_REPEATED: "Another row has the same lesion on the same image. Leave one of them.",
    Code.LABEL_CONTRADICTORY: "Two rows say different things of one lesion, or of one image of several patients.",
    Code.IMAGE_REPEATED: "Two patients have the same image, or nearly: one key is wrong, or a row is to be excluded.",
    Code.SPLIT_LEAKS: "A patient, a lesion's image or nearly the same one is in two splits. Split the manifest anew.",
    Code.SPLIT_IMPOSSIBLE: "There are too few patients, or sites, for the splits that were asked for; see the reason.",
    Code.CONFIG_INVALID: "The training's configuration can not be read, or a field is wrong; the reason names it.",
    Code.TRAINING_DIFFERS: "The output folder holds another training; the reason says what differs. Name a new one.",
    Code.TRAINING_DIVERGED: "The training's loss is no finite number any more. Lower the learning rate.",
    Code.WEIGHTS_UNAVAILABLE: "The weights to start a training from can not be had; the reason says why.",
    Code.CARD_INVALID: "The model card does not follow its schema; the reason names the field.",
    Code.WEIGHTS_MISSING: "The model's weights file is not there or can not be read.",
    Code.WEIGHTS_HASH_MISMATCH: "The weights' SHA-256 is not the one on the card.",
    Code.WEIGHTS_SHAPE_MISMATCH: "The weights do not fit the network that the card describes; the reason says where.",
    Code.MODEL_NOT_FOUND: "The registry has no such model and version (`dlr models list`).",
    Code.MODEL_EXISTS: "The registry has this version with other content. Give the new one a version of its own.",
    Code.MODEL_NOT_ACTIVE: "No version of this model is active (`dlr models activate`).",
    Code.MODEL_IS_ACTIVE: "The version is active, so it scores every study already and can be no shadow.",
    Code.MODEL_UNMEASURED: (
        "The version's card has no metrics. Write them on its card under a new version, or activate with --force."
    ),
    Code.NO_EARLIER_VERSION: "No version on record was active before (`dlr models history`). Activate one by its name.",
    Code.SETTING_INVALID: "A setting is missing or wrong; the reason names its DLR_ variable.",
    Code.STUDY_NOT_FOUND: "The database has no such study.",
    Code.STUDY_NOT_ENDED: "The study is queued or running: there is no result to give out yet. Ask again later.",
    Code.RESULT_MISSING: "There is no result that a document can be made of; the reason says why.",
    Code.DOCUMENT_REFUSED: "The images' headers hold something that such a document can not; look at the patient data.",
    Code.ALREADY_RUNNING: "Another `dlr up` runs on this DLR_HOME, or another training in this folder.",
    Code.SERVICE_UNAVAILABLE: "PostgreSQL or Redis does not answer, or refuses; the reason says which, and why.",
    Code.STORAGE_UNAVAILABLE: "The storage could not be read for now (not a missing file).",
    Code.DICOMWEB_UNAVAILABLE: "The DICOMweb server does not answer, or refuses the sign-in. It is asked again.",
    Code.DESTINATION_UNAVAILABLE: "A result could not be delivered for now; the reason says why. It is sent again.",
    Code.DESTINATION_REFUSED: "A destination refused a result for good; the reason has the status. `dlr send retry`.",
    Code.DEVICE_UNAVAILABLE: "The device scores nothing for now, or its worker is stopping; no lesion is to blame.",
}
"""What each code means and what to do, for the documentation and for `dlr`."""


class DlrError(Exception):
    """A failure with a stable code. ``str()`` is the code alone; ``reason`` is the sentence for a person."""

    def __init__(self, code: Code, reason: str | None = None) -> None:
        super().__init__(code.value)
        self.code = code
        self.reason = reason or MEANINGS[code]


class Refused(DlrError):
    """A retry can not mend it."""


class JobRefused(Refused):
    """The message can not be a job."""


class StudyRefused(Refused):
    """The study's files can not be used, for any of its lesions."""


class LesionRefused(Refused):
    """One lesion can not be scored."""


class ModelRefused(Refused):
    """A model's card or weights can not be used."""


class SetupRefused(Refused):
    """This installation can not do what was asked; a person has to change something."""


class Unavailable(DlrError):
    """A server or a disk is away: try again."""
