"""A study's ways in: jobs, files, a watched folder, DICOM; lesions from reports, segmentations, presentation states."""
