"""The flow of Fig. S5 as a diagram: lines of text, and SVG 1.1 with a title and a description."""

from collections.abc import Sequence
from textwrap import wrap
from xml.etree import ElementTree as ET

from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS, Proportion
from worker.reporting.restratification_flow import Branch, Flow

SAID = {Outcome.DOWNGRADED: "downgraded to BI-RADS 3", Outcome.MAINTAINED: "kept in BI-RADS 4A",
        Outcome.UPGRADED: "upgraded above 4A"}  # fmt: skip
"""What each arm is called in a diagram."""

_WIDTH, _HEIGHT = 900.0, 530.0
_HEAD, _ROW, _BOX = 112.0, 105.0, 68.0
_LETTERS_OF_A_LINE = 118
_MIDDLES = (115.0, 338.0, 562.0, 785.0)
_NARROW, _WIDE = 206.0, 320.0
_FILLS = {Outcome.DOWNGRADED: "#d9f0e3", Outcome.MAINTAINED: "#ececf1", Outcome.UPGRADED: "#fde3cf"}
_PLAIN = "#ffffff"
_INK, _RED = "#1b1b24", "#a8071a"
_TITLE = "Re-stratification of BI-RADS 4A lesions"


def percent(one: Proportion) -> str:
    """Return a count with its share of the total as the study prints it: ``41 (27.7 %)``."""
    return f"{one.count}" if one.rate is None else f"{one.count} ({100 * one.rate:.1f} %)"


def pathology(one: Proportion) -> str:
    """Return the malignant lesions of those that pathology reported on: ``cancer in 22 of 27 (81.5 %)``."""
    if one.rate is None:
        return "pathology not known"
    return f"cancer in {one.count} of {one.total} ({100 * one.rate:.1f} %)"


def text_of(flow: Flow) -> list[str]:
    """Draw a flow as lines of text: a tree, and beneath it the three arms."""
    lines = [f"{flow.lesions} lesions in BI-RADS 4A"]
    for high_risk, stem, inner in ((False, "├─", "│ "), (True, "└─", "  ")):
        low, high = pair = _pair(flow, high_risk)
        lines.append(f"{stem} {_lh(pair)}")
        lines += [f"{inner} ├─ {_bm(low)} → {SAID[low.outcome]}", f"{inner} └─ {_bm(high)} → {SAID[high.outcome]}"]
    if flow.uncertain.count:
        lines.append(f"   a model not certain: {percent(flow.uncertain)} → {SAID[Outcome.MAINTAINED]}")
    return lines + [f"{SAID[arm]}: {percent(flow.arms[arm])}; {pathology(flow.malignant[arm])}" for arm in ARMS]


def svg_of(drawn: Sequence[Flow]) -> str:
    """Draw flows beneath each other as one SVG document; it names no study and no lesion."""
    root = ET.Element("svg", {
        "xmlns": "http://www.w3.org/2000/svg", "version": "1.1", "role": "img", "aria-labelledby": "title desc",
        "viewBox": f"0 0 {_WIDTH:g} {_HEIGHT * max(len(drawn), 1):g}", "font-family": "Helvetica, Arial, sans-serif",
        "font-size": "14", "fill": _INK,
    })  # fmt: skip
    ET.SubElement(root, "title", {"id": "title"}).text = _TITLE
    ET.SubElement(root, "desc", {"id": "desc"}).text = "\n".join(map(_description, drawn)) or "No lesions."
    ET.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": _PLAIN})
    for place, flow in enumerate(drawn):
        _draw(ET.SubElement(root, "g", {"transform": f"translate(0 {place * _HEIGHT:g})"}), flow)
    if not drawn:
        _text(root, _WIDTH / 2, _HEAD, ["no 4A lesion has scores"])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _pair(flow: Flow, high_risk: bool) -> tuple[Branch, Branch]:
    """The two branches of one answer of DLR_LH: benign, malignant."""
    benign, malignant = (branch for branch in flow.branches if branch.high_risk is high_risk)
    return benign, malignant


def _lh(pair: tuple[Branch, Branch]) -> str:
    first, second = (branch.lesions for branch in pair)
    count = first.count + second.count
    share = f" ({100 * count / first.total:.1f} %)" if first.total else ""
    return f"DLR_LH {'high' if pair[0].high_risk else 'low'} risk: {count}{share}"


def _bm(branch: Branch) -> str:
    return f"DLR_BM {'malignant' if branch.positive else 'benign'}: {percent(branch.lesions)}"


def _description(flow: Flow) -> str:
    return "\n".join(filter(None, [flow.notice, _alert(flow), *text_of(flow)]))


def _alert(flow: Flow) -> str | None:
    count = len(flow.missed)
    return f"ALERT: {count} malignant among the {flow.arms[Outcome.DOWNGRADED].count} downgraded" if count else None


def _draw(group: ET.Element, flow: Flow) -> None:
    notice = f" – {flow.notice}" if flow.notice else ""
    head = [
        *wrap(_TITLE + notice, _LETTERS_OF_A_LINE),
        *wrap("; ".join(flow.models), _LETTERS_OF_A_LINE, max_lines=1, placeholder=" …"),
    ]
    _text(group, _WIDTH / 2, 10 + 9.5 * len(head), head)
    if (alert := _alert(flow)) is not None:
        _text(group, _WIDTH / 2, _HEAD - 14, [alert], fill=_RED, weight="bold")
    middle = _WIDTH / 2
    first, second, third, fourth = _MIDDLES
    risks = ((first + second) / 2, (third + fourth) / 2)
    arms = dict(zip(ARMS, (first, middle, fourth), strict=True))
    for risk, below in zip(risks, ((first, second), (third, fourth)), strict=True):
        _line(group, middle, risk, row=0)
        for one in below:
            _line(group, risk, one, row=1)
    for x, branch in zip(_MIDDLES, flow.branches, strict=True):
        _line(group, x, arms[branch.outcome], row=2)
    kept = [f"not certain, kept: {percent(flow.uncertain)}"] if flow.uncertain.count else []
    _box(group, middle, 0, [f"{flow.lesions} lesions", "in BI-RADS 4A", *kept])
    for x, high_risk in zip(risks, (False, True), strict=True):
        _box(group, x, 1, _lh(_pair(flow, high_risk)).split(": "))
    for x, branch in zip(_MIDDLES, flow.branches, strict=True):
        _box(group, x, 2, [*_bm(branch).split(": "), pathology(branch.malignant)])
    for arm, x in arms.items():
        said = [SAID[arm], percent(flow.arms[arm]), pathology(flow.malignant[arm])]
        _box(group, x, 3, said, fill=_FILLS[arm], width=_WIDE if x == middle else _NARROW)


def _top(row: int) -> float:
    return _HEAD + row * _ROW


def _box(
    group: ET.Element, x: float, row: int, lines: Sequence[str], fill: str = _PLAIN, width: float = _NARROW
) -> None:
    ET.SubElement(group, "rect", {
        "x": f"{x - width / 2:g}", "y": f"{_top(row):g}", "width": f"{width:g}", "height": f"{_BOX:g}",
        "rx": "6", "fill": fill, "stroke": _INK,
    })  # fmt: skip
    _text(group, x, _top(row) + _BOX / 2, lines)


def _line(group: ET.Element, start: float, end: float, row: int) -> None:
    """From the bottom of a row's box to the top of one of the next row."""
    top, bottom = _top(row) + _BOX, _top(row + 1)
    halfway = (top + bottom) / 2
    path = f"M{start:g} {top:g} V{halfway:g} H{end:g} V{bottom:g}"
    ET.SubElement(group, "path", {"d": path, "fill": "none", "stroke": _INK})


def _text(
    group: ET.Element, x: float, middle: float, lines: Sequence[str], fill: str = _INK, weight: str = "normal"
) -> None:
    """Lines of text, centred on a point."""
    step = 19
    for place, line in enumerate(lines):
        y = middle + (place - (len(lines) - 1) / 2) * step + 5
        attributes = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": "middle", "fill": fill, "font-weight": weight}
        ET.SubElement(group, "text", attributes).text = line
