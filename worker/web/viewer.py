"""The link from a study to the site's PACS viewer."""

from urllib.parse import quote


def viewer_url(template: str | None, study_instance_uid: str | None, accession_number: str | None) -> str | None:
    """Fill a study in.

    Args:
        template: ``DLR_WEB_VIEWER_URL``, with one or both of ``{study_instance_uid}`` and ``{accession_number}``.
        study_instance_uid: the study's.
        accession_number: the study's.

    Returns:
        The address, the values percent-encoded; ``None`` without a template, or where the study lacks a value.
    """
    if template is None:
        return None
    for place, value in (("{study_instance_uid}", study_instance_uid), ("{accession_number}", accession_number)):
        if place in template and not value:
            return None
        template = template.replace(place, quote(value or "", safe=""))
    return template
