"""A study's result as the pages of a PDF, for whoever has no viewer of structured reports."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from worker.reporting.lesion_content import (
    Choice,
    ContentItem,
    Number,
    content_of,
    has_several_images,
    image_content_of,
    parameters_of,
    summary_of,
)
from worker.reporting.result import LesionResult, StudyResult
from worker.reporting.source_study import Source, Subject, accession_of
from worker.text import on_one_line

if TYPE_CHECKING:
    from fpdf import FPDF

TITLE: Final = "DLR: recommendation, not a diagnosis"
IN_HEADER: Final = "(in the header of this document)"
"""Instead of a value in another script than the fonts that every PDF reader has: WinAnsiEncoding."""

_FONT: Final = "Helvetica"
_ENCODING: Final = "cp1252"
_SIZE: Final = 9
_LINE_MM: Final = 4.6


def pdf_pages(result: StudyResult, source: Source) -> bytes:
    """Make the PDF. The same result gives the same bytes.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files: patient and study.
    """
    from fpdf import FPDF

    pdf = FPDF(format="A4")
    pdf.set_title(TITLE)
    pdf.set_creator("dlr-worker")
    pdf.set_lang("en")
    pdf.creation_date = result.endings[-1].at
    pdf.set_auto_page_break(auto=True, margin=15)
    pdf.add_page()
    _heading(pdf, TITLE, 14)
    for notice in result.notices:
        _heading(pdf, notice, 12)
    _paragraph(pdf, summary_of(result))
    _rows(pdf, _of_study(result, source.subject))
    for lesion in result.lesions:
        _heading(pdf, f"Lesion {lesion.ordinal} ({lesion.lesion_id})", 11)
        _rows(pdf, _of_lesion(lesion))
    return bytes(pdf.output())


def _of_study(result: StudyResult, subject: Subject) -> Iterator[tuple[str, str]]:
    yield "Patient's Name", subject.patient_name.replace("^", " ").replace("=", " / ")
    yield "Patient ID", subject.patient_id
    yield "Patient's Birth Date", subject.patient_birth_date
    yield "Accession Number", accession_of(subject, result)
    yield "Study Date", subject.study_date
    yield "Study Instance UID", subject.study_instance_uid
    yield "State", result.state
    yield "Result of", f"{subject.local(result.endings[-1].at):%Y-%m-%d %H:%M:%S %z}"


def _of_lesion(lesion: LesionResult) -> Iterator[tuple[str, str]]:
    yield from _said(content_of(lesion))
    for score in lesion.scores:
        yield "Model", ", ".join([f"{score.model} {score.version}", *parameters_of(score)])
    if has_several_images(lesion):
        for image in lesion.images:
            yield from _said(image_content_of(lesion, image))


def _said(findings: Sequence[ContentItem]) -> Iterator[tuple[str, str]]:
    for finding in findings:
        name = finding.name.meaning
        if isinstance(finding, Number):
            unit = "" if finding.unit.value == "1" else f" {finding.unit.meaning}"
            yield name, f"{finding.value:.6g}{unit}"
        elif isinstance(finding, Choice):
            yield name, finding.value.meaning
        else:
            yield name, finding.text


def _heading(pdf: "FPDF", text: str, size: int) -> None:
    pdf.set_font(_FONT, "B", size)
    pdf.multi_cell(0, size * 0.55, _printable(text), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def _paragraph(pdf: "FPDF", text: str) -> None:
    pdf.set_font(_FONT, "", _SIZE)
    pdf.multi_cell(0, _LINE_MM, _printable(text), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def _rows(pdf: "FPDF", rows: Iterator[tuple[str, str]]) -> None:
    pdf.set_font(_FONT, "", _SIZE)
    with pdf.table(col_widths=(2, 3), first_row_as_headings=False, line_height=_LINE_MM, text_align="LEFT") as table:
        for row in rows:
            cells = table.row()
            for cell in row:
                cells.cell(_printable(cell) or "-")
    pdf.ln(3)


def _printable(text: str) -> str:
    line = on_one_line(text).strip()
    try:
        line.encode(_ENCODING)
    except UnicodeEncodeError:
        return IN_HEADER
    return line
