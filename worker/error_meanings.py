"""What each code of a refusal means, and what to do: the one table that documents, the page and commands read."""

from worker.error_codes import Code

MEANINGS: dict[Code, str] = {
    Code.JOB_INVALID: (
        "The job does not follow the contract; the reason names the field. Correct it and push the job again."
    ),
    Code.JOB_VERSION_UNSUPPORTED: (
        "This worker does not read the job's schema_version. Send one that `dlr schema` allows."
    ),
    Code.JOB_TOO_LARGE: (
        "The message is larger than DLR_MAX_MESSAGE_BYTES. Send references to the images, never pixels."
    ),
    Code.MESSAGE_UNDECODABLE: (
        "The message is not JSON in Celery's protocol 2, so nothing in it was read. Correct the sender."
    ),
    Code.TASK_UNKNOWN: "The message names a task that this worker does not have. Correct the sender.",
    Code.PATH_OUTSIDE_STORAGE: "A path leads out of DLR_STORAGE_ROOT. Give paths relative to it.",
    Code.FILE_NOT_FOUND: (
        "There is no file at that path under DLR_STORAGE_ROOT. Put it there and submit the study again."
    ),
    Code.FILE_NOT_REGULAR: "The path is a folder, a device or a pipe. Name a file.",
    Code.FILE_NOT_READABLE: "The worker's user may not read the file. Fix its permissions and submit the study again.",
    Code.FILE_TOO_LARGE: "The file is larger than DLR_MAX_FILE_BYTES, or inflates to more than DLR_MAX_INFLATED_BYTES.",
    Code.FILE_NOT_DICOM: (
        "The file is not DICOM (PS3.10): its File Meta Information or data set cannot be read. Export it again."
    ),
    Code.FILE_TRUNCATED: "The file ends in the middle of a DICOM element. Send it again.",
    Code.STUDY_UID_MISSING: "The file has no Study Instance UID, so its study is unknown. Have it exported again.",
    Code.STUDY_UID_MISMATCH: (
        "A file's Study Instance UID differs from the job's. Correct the job, or leave the file out."
    ),
    Code.PATIENT_MISMATCH: (
        "The study's files name more than one patient. Find out whose they are before you submit them again."
    ),
    Code.SOP_INSTANCE_NOT_FOUND: (
        "No file of the study has the SOP Instance UID of a lesion's image or segmentation. Add it."
    ),
    Code.SOP_INSTANCE_AMBIGUOUS: (
        "Two different files share the SOP Instance UID of a lesion's image or segmentation. Keep one."
    ),
    Code.DICOMWEB_SERVER_UNKNOWN: (
        "DLR_DICOMWEB_SERVERS has no server of the name that the job gives. Add it, or correct the job."
    ),
    Code.DICOMWEB_FAILED: (
        "The DICOMweb server refused the request, or its answer violates PS3.18. See the reason, then requeue."
    ),
    Code.PACS_SERVER_UNKNOWN: (
        "DLR_PACS_SERVERS has no PACS of the name that the job gives. Add it, or correct the job."
    ),
    Code.PACS_FAILED: (
        "The PACS refused to be searched or to give an instance, or its answer violates PS3.4; see the reason."
    ),
    Code.PACS_SENT_NOTHING: (
        "The PACS answered that it sent an instance, and none came. Look at its AE titles and addresses, then repeat."
    ),
    Code.STUDY_NOT_ON_SERVER: (
        "The server has no study of that Study Instance UID or accession number. Push the job again once it has."
    ),
    Code.ACCESSION_AMBIGUOUS: (
        "The server has several studies of that accession number. Push the job with the Study Instance UID."
    ),
    Code.FETCH_TOO_LARGE: (
        "What the study needs of the server is more than DLR_FETCH_MAX_INSTANCES or DLR_FETCH_MAX_BYTES."
    ),
    Code.HL7_INVALID: (
        "The HL7 message cannot be read, or does not say of which study it is; the reason names the field."
    ),
    Code.WORK_ITEM_INVALID: "The work item does not name one study; the reason names the attribute.",
    Code.LESIONS_MISSING: (
        "No DICOM SR (TID 1500), SEG or GSPS in the study has a lesion with a region and a category. Add one."
    ),
    Code.REPORT_INVALID: "A DICOM SR (TID 1500), SEG or GSPS cannot be read as one. Correct it and send it again.",
    Code.REPORT_UNSUPPORTED: (
        "A DICOM SR, SEG or GSPS marks a lesion in a way that is not supported; the reason says how."
    ),
    Code.BREAST_REPORT_UNSUPPORTED: (
        "A Breast Imaging Report (TID 4200) does not mark its lesions by regions on images. Send an SR that does."
    ),
    Code.BIRADS_UNKNOWN: "A finding's assessment is not a BI-RADS category (PS3.16, CID 6027).",
    Code.MODALITY_NOT_ULTRASOUND: "The image's Modality is not US. Mark the lesion on an ultrasound image.",
    Code.PIXELS_MISSING: "The file holds no pixels: no Pixel Data, or zero rows or columns. Export it again.",
    Code.PIXELS_TOO_LARGE: "The header declares a frame larger than DLR_MAX_FRAME_PIXELS, or more pixels than allowed.",
    Code.PIXELS_UNDECODABLE: "The pixel data cannot be decoded with the file's transfer syntax. Export it again.",
    Code.PIXELS_UNIFORM: (
        "Every pixel in the lesion's region has the same value, so there is nothing to score. Check the ROI."
    ),
    Code.TRANSFER_SYNTAX_UNSUPPORTED: (
        "This worker does not decode the file's transfer syntax. Export it in another one."
    ),
    Code.TRANSFER_SYNTAX_MISMATCH: (
        "The file is not in the transfer syntax that its header names; the reason gives the real one. Export it again."
    ),
    Code.PHOTOMETRIC_UNSUPPORTED: (
        "The photometric interpretation or sample layout is not supported. Export the image in another."
    ),
    Code.DECODER_CRASHED: (
        "The decoder process ended twice on this file: it crashed or ran out of its memory. Export it again."
    ),
    Code.DECODE_TIMEOUT: (
        "Reading the file took longer than DLR_DECODE_TIMEOUT_S. Requeue the study, or raise the limit."
    ),
    Code.IMAGE_CHANGED: "A file has changed since it was scored. Submit the study again.",
    Code.FRAME_NOT_GIVEN: "The file has several frames and the lesion does not say which one. Add its frame number.",
    Code.FRAME_NOT_FOUND: "The file has fewer frames than the lesion's frame number. Correct the number.",
    Code.ROI_OUTSIDE_IMAGE: "The lesion's ROI does not lie within the image. Correct its coordinates.",
    Code.DOPPLER_IN_ROI: "The lesion's region shows Doppler, but the models read B-mode. Mark it on a plain image.",
    Code.COLOUR_IN_ROI: "The lesion's region is coloured (elastography, Doppler, a tint). Mark it on a plain image.",
    Code.DUAL_VIEW_SEAM_IN_ROI: "The lesion's region crosses from one view into the next. Mark it within one view.",
    Code.OVERLAY_IN_ROI: "Calipers or text appear to be burned into the lesion's region. Send the image without them.",
    Code.ROI_OUTSIDE_BMODE: (
        "More than 5 % of the lesion's ROI lies outside the header's B-mode regions. Check the ROI."
    ),
    Code.ROI_TOO_SMALL: "A side of the lesion's region is shorter than 16 pixels. Mark it on a magnified image.",
    Code.ROI_BLANK: "The lesion's region has hardly any contrast (fewer than 8 grey levels). Check the ROI.",
    Code.ROI_SATURATED: (
        "More than 10 % of the lesion's region is clipped at white, so its texture is lost. Use another image."
    ),
    Code.AGE_MISSING: (
        "The age is unknown: the job has none, nor do Patient's Age or the birth and study dates. Send it."
    ),
    Code.AGE_IMPLAUSIBLE: (
        "Patient's Age or the dates cannot be an age (`000Y`, a birth after the study). Correct them."
    ),
    Code.AGE_CONTRADICTORY: "The job's age and the header's differ by more than a year. Correct the wrong one.",
    Code.AGE_OUT_OF_RANGE: "The age is not between 0 and 120 years. Correct it.",
    Code.SCORES_NOT_FINITE: (
        "A model gave a score that is not a finite number. Check the device and the model (`dlr models check`)."
    ),
    Code.INFERENCE_FAILED: (
        "The device failed on this lesion, even alone in its batch. See the worker's log, then requeue."
    ),
    Code.IMAGES_TOO_FEW: (
        "Fewer of the lesion's images could be scored than the models need (`min_images` of their cards). Send more."
    ),
    Code.ATTEMPTS_EXHAUSTED: (
        "The study failed, or stopped its worker, DLR_MAX_ATTEMPTS times. See the log before you requeue it."
    ),
    Code.INTERNAL_ERROR: "This is a defect in the software; study_event says where in the code. Please report it.",
    Code.PATHOLOGY_INVALID: "The file of pathology results, or a row of it, cannot be read. Nothing was imported.",
    Code.ROW_INVALID: "A field of the row is missing or wrong; the reason names the field, never its value.",
    Code.STUDY_AMBIGUOUS: "Several studies match. Give the whole id or the Study Instance UID.",
    Code.STUDY_NOT_CURRENT: (
        "The id belongs to a purged study, or to a revision that has been replaced. Use the current one."
    ),
    Code.LESION_NOT_FOUND: "The study has no lesion with that name. `dlr show` lists them.",
    Code.RESULT_CONTRADICTORY: "The file contradicts itself about this lesion on one day. Keep the right row.",
    Code.VERDICT_INVALID: "The file of verdicts, or a row of it, cannot be read. Nothing was imported.",
    Code.VERDICT_OUTDATED: "The study has been revised, scored again or taken off the list. Have it read again.",
    Code.POLICY_INVALID: "The policy cannot be read or does not follow its schema; the reason names the field.",
    Code.SCORES_INVALID: "The table of scores, or a row of it, cannot be read. Nothing was evaluated.",
    Code.LESIONS_TOO_FEW: (
        "There are too few lesions: evaluation needs benign and malignant ones with a model's scores."
    ),
    Code.DATASET_INVALID: "The manifest or data set cannot be read, or its layout is not the expected one.",
    Code.MASK_INVALID: "The lesion's mask cannot be read, is empty, or differs in size from its image. Correct it.",
    Code.ROW_REPEATED: "Another row has the same lesion on the same image. Keep one of them.",
    Code.LABEL_CONTRADICTORY: (
        "Two rows contradict each other about one lesion, or one image of several patients. Correct one."
    ),
    Code.IMAGE_REPEATED: (
        "Two patients have the same or nearly the same image. Correct the patient key, or exclude a row."
    ),
    Code.SPLIT_LEAKS: "A patient, or the same or nearly the same image, is in two splits. Split the manifest again.",
    Code.SPLIT_IMPOSSIBLE: "There are too few patients or sites for the requested splits; see the reason.",
    Code.AGE_UNINFORMATIVE: (
        "Most patients have the same few ages, so they were filled in, and a classifier with age cannot learn from "
        "them. Give the true ages, or train the image network alone (`--stages image`)."
    ),
    Code.CONFIG_INVALID: "The training configuration cannot be read, or a field is wrong; the reason names it.",
    Code.TRAINING_DIFFERS: (
        "The output folder holds a different training run; the reason says how. Choose another folder."
    ),
    Code.TRAINING_DIVERGED: "The training loss is no longer a finite number. Lower the learning rate.",
    Code.WEIGHTS_UNAVAILABLE: "The initial weights for training are not available; the reason says why.",
    Code.CARD_INVALID: "The model card does not follow its schema; the reason names the field.",
    Code.WEIGHTS_MISSING: "The model's weights file is missing or cannot be read. Add the model again.",
    Code.WEIGHTS_HASH_MISMATCH: (
        "The SHA-256 of the weights differs from the card's. Restore the file, or add the model again."
    ),
    Code.WEIGHTS_SHAPE_MISMATCH: "The weights do not fit the network that the card describes; the reason says where.",
    Code.MODEL_NOT_FOUND: "The registry has no such model and version. `dlr models list` shows what it has.",
    Code.MODEL_EXISTS: (
        "The registry already has this version with different content. Give the new one its own version."
    ),
    Code.MODEL_NOT_ACTIVE: "No version of this model is active. Choose one with `dlr models activate`.",
    Code.MODEL_IS_ACTIVE: "The version is active and already scores every study, so it cannot be a shadow.",
    Code.MODEL_UNMEASURED: (
        "The version's card has no metrics. Add them to its card under a new version, or activate with --force."
    ),
    Code.MODEL_UNSTATED: (
        "The version's card does not state what the model is for (`intended_use`), or has no `notice` to go with its "
        "results. State both on its card under a new version, or activate with --force."
    ),
    Code.MODEL_IMAGE_ONLY: (
        "The version is of the image stage alone and has no classifier with age, so it cannot serve. Train the second "
        "stage from its weights: `dlr train --stages age --init WEIGHTS`."
    ),
    Code.MEMBERS_DIFFER: (
        "These versions cannot be one ensemble: its members have one architecture, one input and one label; the reason "
        "says what differs."
    ),
    Code.NO_EARLIER_VERSION: "No earlier version was active (`dlr models history`). Activate one by name.",
    Code.BACKUP_INVALID: "The backup is damaged, cut short or no backup. Nothing was restored; take another one.",
    Code.BACKUP_NEWER: "The backup was made by a later version of this software. Restore it with that version.",
    Code.BACKUP_FAILED: "pg_dump or pg_restore refuses; the reason has its words. Nothing is half written.",
    Code.DATABASE_NOT_EMPTY: (
        "The database has studies. Restore into an empty one, or say --replace, which removes what it has."
    ),
    Code.POSTGRES_TOOLS_MISSING: (
        "pg_dump and pg_restore of the server's version are not installed; the reason says which are needed."
    ),
    Code.READING_ORDER_INVALID: "A policy of reading order cannot be used; the reason says what is wrong, and where.",
    Code.READING_ORDER_SUPERSEDED: "Another reading order was applied meanwhile; see `dlr worklist policy show`.",
    Code.SETTING_INVALID: "A setting is missing or wrong; the reason names its DLR_ variable.",
    Code.STUDY_NOT_FOUND: "The database has no such study. Check the id, or find the study with `dlr worklist`.",
    Code.STUDY_NOT_ENDED: "The study is still queued or running, so it has no result yet. Try again later.",
    Code.RESULT_MISSING: "There is no result to make a document from; the reason says why.",
    Code.DOCUMENT_REFUSED: "The images' headers hold a value that such a document cannot. Check the patient data.",
    Code.REQUEST_INVALID: "The HTTP request cannot be read; the reason says what is wrong with it. Correct it.",
    Code.REQUEST_TOO_LARGE: "The HTTP request has more bytes or more files than are taken. Send fewer at a time.",
    Code.REQUESTS_TOO_MANY: "Too many HTTP requests have come with this token. Wait as long as Retry-After says.",
    Code.MEDIA_TYPE_UNSUPPORTED: "The HTTP request's Content-Type is not one that is read here. The reason names them.",
    Code.TOKEN_INVALID: "The HTTP request has no token, or one that is unknown, revoked or expired. Create another.",
    Code.SCOPE_MISSING: "The token does not have the scope that this request needs. Create one that has it.",
    Code.ROUTE_NOT_FOUND: "The HTTP interface has no such address, or the address does not take this method.",
    Code.IDEMPOTENCY_KEY_REUSED: "Another request came with this Idempotency-Key. Use a new key for each job.",
    Code.ALREADY_RUNNING: (
        "Another `dlr up` uses this DLR_HOME, or another training run uses this folder. Stop it first."
    ),
    Code.SERVICE_UNAVAILABLE: (
        "PostgreSQL or Redis does not answer or refuses the request; the reason says which and why."
    ),
    Code.STORAGE_UNAVAILABLE: (
        "The storage cannot be read at the moment (the file is not just missing). It is tried again."
    ),
    Code.DICOMWEB_UNAVAILABLE: "The DICOMweb server does not answer or refuses the credentials. It is tried again.",
    Code.PACS_UNAVAILABLE: "The PACS does not answer, or rejects the association. It is tried again.",
    Code.DESTINATION_UNAVAILABLE: "A result cannot be delivered at the moment; the reason says why. It is sent again.",
    Code.DESTINATION_REFUSED: (
        "The destination refused a result; the reason has its status. Fix the cause, then `dlr send retry`."
    ),
    Code.DESTINATION_DEFERRED: (
        "The destination does not take a result yet; the reason has its answer. It is sent again, so many times."
    ),
    Code.COLLECTOR_UNAVAILABLE: (
        "The collector of audit messages cannot be reached; the reason says why. They wait in the database."
    ),
    Code.COMMITMENT_AWAITED: (
        "The PACS has the result, and has yet to report whether it keeps it (storage commitment). It is waited for."
    ),
    Code.COMMITMENT_FAILED: (
        "The PACS reports that it does not keep what it was sent; the reason has its answer. It is sent again, so many "
        "times; after that fix the cause there, then `dlr send retry`."
    ),
    Code.COMMITMENT_MISSING: (
        "The PACS took the request for storage commitment and did not report in time. It is asked again, so many "
        "times. It has to know the address of `dlr receive` by our AE title, and DLR_RECEIVE_CALLERS has to have its "
        "AE title."
    ),
    Code.DESTINATIONS_INVALID: (
        "The file of destinations cannot be read or does not follow its schema; the reason names the field."
    ),
    Code.RESULT_NOT_TAKEN: "The destination's rules leave the result out; the reason names the rule.",
    Code.DEVICE_UNAVAILABLE: (
        "The device is not scoring at the moment, or its worker is stopping. The lesion is not at fault."
    ),
}
"""What each code means and what to do, for the documentation and for `dlr`."""
