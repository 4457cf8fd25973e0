"""A study's ways in: a job, files, a watched folder, DICOM; lesions from reports, segmentations, presentation states."""
