"""The stable codes of every refusal. What each means is in `worker.error_meanings`."""

from enum import StrEnum

from db.schema import vocabulary


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
    PACS_SERVER_UNKNOWN = "pacs_server_unknown"
    PACS_FAILED = "pacs_failed"
    PACS_SENT_NOTHING = "pacs_sent_nothing"
    STUDY_NOT_ON_SERVER = "study_not_on_server"
    ACCESSION_AMBIGUOUS = "accession_ambiguous"
    FETCH_TOO_LARGE = "fetch_too_large"
    HL7_INVALID = "hl7_invalid"
    WORK_ITEM_INVALID = "work_item_invalid"

    LESIONS_MISSING = "lesions_missing"
    REPORT_INVALID = "report_invalid"
    REPORT_UNSUPPORTED = "report_unsupported"
    BREAST_REPORT_UNSUPPORTED = "breast_report_unsupported"
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

    DOPPLER_IN_ROI = vocabulary.QualityFinding.DOPPLER_IN_ROI.value
    COLOUR_IN_ROI = vocabulary.QualityFinding.COLOUR_IN_ROI.value
    DUAL_VIEW_SEAM_IN_ROI = vocabulary.QualityFinding.DUAL_VIEW_SEAM_IN_ROI.value
    OVERLAY_IN_ROI = vocabulary.QualityFinding.OVERLAY_IN_ROI.value
    ROI_OUTSIDE_BMODE = vocabulary.QualityFinding.ROI_OUTSIDE_BMODE.value
    ROI_TOO_SMALL = vocabulary.QualityFinding.ROI_TOO_SMALL.value
    ROI_BLANK = vocabulary.QualityFinding.ROI_BLANK.value
    ROI_SATURATED = vocabulary.QualityFinding.ROI_SATURATED.value

    AGE_MISSING = "age_missing"
    AGE_IMPLAUSIBLE = "age_implausible"
    AGE_CONTRADICTORY = "age_contradictory"
    AGE_OUT_OF_RANGE = "age_out_of_range"

    SCORES_NOT_FINITE = "scores_not_finite"
    INFERENCE_FAILED = "inference_failed"
    IMAGES_TOO_FEW = "images_too_few"
    ATTEMPTS_EXHAUSTED = vocabulary.ATTEMPTS_EXHAUSTED
    INTERNAL_ERROR = "internal_error"

    PATHOLOGY_INVALID = "pathology_invalid"
    ROW_INVALID = "row_invalid"
    STUDY_AMBIGUOUS = "study_ambiguous"
    STUDY_NOT_CURRENT = "study_not_current"
    LESION_NOT_FOUND = "lesion_not_found"
    RESULT_CONTRADICTORY = "result_contradictory"
    VERDICT_INVALID = "verdict_invalid"
    VERDICT_OUTDATED = "verdict_outdated"
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

    AGE_UNINFORMATIVE = "age_uninformative"

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
    MODEL_UNSTATED = "model_unstated"
    MODEL_IMAGE_ONLY = "model_image_only"
    MEMBERS_DIFFER = "members_differ"
    NO_EARLIER_VERSION = "no_earlier_version"

    BACKUP_INVALID = "backup_invalid"
    BACKUP_NEWER = "backup_newer"
    BACKUP_FAILED = "backup_failed"
    DATABASE_NOT_EMPTY = "database_not_empty"
    POSTGRES_TOOLS_MISSING = "postgres_tools_missing"

    SETTING_INVALID = "setting_invalid"
    READING_ORDER_INVALID = "reading_order_invalid"
    READING_ORDER_SUPERSEDED = "reading_order_superseded"
    STUDY_NOT_FOUND = "study_not_found"
    STUDY_NOT_ENDED = "study_not_ended"
    RESULT_MISSING = "result_missing"
    DOCUMENT_REFUSED = "document_refused"
    REQUEST_INVALID = "request_invalid"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUESTS_TOO_MANY = "requests_too_many"
    MEDIA_TYPE_UNSUPPORTED = "media_type_unsupported"
    TOKEN_INVALID = "token_invalid"  # noqa: S105  a code
    SCOPE_MISSING = "scope_missing"
    ROUTE_NOT_FOUND = "route_not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    ALREADY_RUNNING = "already_running"
    SERVICE_UNAVAILABLE = "service_unavailable"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    DICOMWEB_UNAVAILABLE = "dicomweb_unavailable"
    PACS_UNAVAILABLE = "pacs_unavailable"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    DESTINATION_REFUSED = "destination_refused"
    DESTINATION_DEFERRED = "destination_deferred"
    COLLECTOR_UNAVAILABLE = "collector_unavailable"
    COMMITMENT_AWAITED = "commitment_awaited"
    COMMITMENT_FAILED = "commitment_failed"
    COMMITMENT_MISSING = "commitment_missing"
    DESTINATIONS_INVALID = "destinations_invalid"
    RESULT_NOT_TAKEN = "result_not_taken"
    DEVICE_UNAVAILABLE = "device_unavailable"
