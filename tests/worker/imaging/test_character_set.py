"""Text in the character sets of PS3.5 (annexes H to K and the single-byte repertoires), and text that is in none."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.charset import encode_string
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.worker.imaging.dicom_files import LIMITS, dataset, picture, save, write, write_texts
from worker.errors import Code, StudyRefused
from worker.imaging.character_set import CharacterSet, Text, is_plain, read_texts
from worker.imaging.dicom_file import open_dicom
from worker.imaging.identity import read_identity
from worker.imaging.patient import PatientId, require_one_patient
from worker.text import composed, in_plain_letters, is_one_line, on_one_line

SINGLE_BYTE = {
    "ISO_IR 13": ("shift_jis", "ﾔﾏﾀﾞ ﾀﾛｳ"),
    "ISO_IR 100": ("latin_1", "Müller Øçé"),
    "ISO_IR 101": ("iso8859_2", "Wałęsa Łódź"),
    "ISO_IR 109": ("iso8859_3", "Ĉiuĵaŭde Għawdex"),
    "ISO_IR 110": ("iso8859_4", "Bērziņš Ķēniņš"),
    "ISO_IR 126": ("iso8859_7", "Διονυσιος"),
    "ISO_IR 127": ("iso8859_6", "قباني لنزار"),
    "ISO_IR 138": ("iso8859_8", "שרון דבורה"),
    "ISO_IR 144": ("iso8859_5", "Люкceмбypг"),
    "ISO_IR 148": ("iso8859_9", "Çavuşoğlu İğ"),
    "ISO_IR 166": ("iso8859_11", "นามสกุล ชื่อ"),
    "ISO_IR 203": ("iso8859_15", "Œuvre Šž €"),
}
WHOLE = {"ISO_IR 192": ("utf_8", "王小东 Müller 홍길동"), "GB18030": ("gb18030", "王小东 㐀"), "GBK": ("gbk", "張小東")}
OF_ONE_SET = SINGLE_BYTE | WHOLE
EXTENDED = {
    "\\ISO 2022 IR 87": (["iso8859", "iso2022_jp"], "山田 Tarou"),
    "\\ISO 2022 IR 87\\ISO 2022 IR 159": (["iso8859", "iso2022_jp", "iso2022_jp_2"], "山田 丂侄"),
    "ISO 2022 IR 13\\ISO 2022 IR 87": (["shift_jis", "iso2022_jp"], "ﾔﾏ 山田"),
    "\\ISO 2022 IR 149": (["iso8859", "euc_kr"], "Hong 길동"),
    "ISO 2022 IR 100\\ISO 2022 IR 144": (["latin_1", "iso_ir_144"], "Müller Люк"),
    "ISO 2022 IR 100\\ISO 2022 IR 126": (["latin_1", "iso_ir_126"], "Äneas Διον"),
}
K_NAME = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="


def read(declared: str, value: bytes, vr: str = "LO") -> Text:
    return CharacterSet.declared(declared.encode("latin-1")).read(value, vr)


@pytest.mark.parametrize(
    ("declared", "vr", "value", "text"),
    [
        # H.3.1 and H.3.2
        (
            "\\ISO 2022 IR 87",
            "PN",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            "PN",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        # I.2 and I.3
        (
            "\\ISO 2022 IR 149",
            "PN",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (
            "\\ISO 2022 IR 149",
            "LT",
            b"\x1b$)C1st line: \xb1\xe6\xb5\xbf.\r\n\x1b$)C2nd line: \xb1\xe6\xb5\xbf, too.\r\nThe 3rd",
            "1st line: 길동.\r\n2nd line: 길동, too.\r\nThe 3rd",
        ),
        # J.3 and K.2, whose repertoire pydicom leaves with its escape sequences
        ("ISO_IR 192", "PN", "Wang^XiaoDong=王^小东=".encode(), "Wang^XiaoDong=王^小东="),
        ("GB18030", "PN", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        ("GBK", "PN", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        ("\\ISO 2022 IR 58", "PN", K_NAME, "Zhang^XiaoDong=张^小东="),
        # G1 outlives a change of G0, up to a delimiter
        ("ISO 2022 IR 144\\ISO 2022 IR 87", "LO", b"\xbb\x1b$B;3\x1b(B\xbb", "Л山Л"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", "PN", b"\x1b-L\xbb^\xbb", "Л^»"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", "LO", b"\x1b-L\xbb^\xbb", "Л^Л"),
        ("ISO 2022 IR 100\\ISO 2022 IR 203", "LO", b"\xa4\x1b-b\xa4", "¤€"),
        # A byte order mark is none of the text's characters
        ("ISO_IR 192", "LO", "\ufeffMüller".encode(), "Müller"),
        ("", "LO", "\ufeffMüller".encode(), "Müller"),
        # The second byte of a character may be a delimiter's, in one repertoire (/ and ^) or another
        ("\\ISO 2022 IR 87", "PN", b"\x1b$BF^=\x5c\x1b(B", b"\x1b$BF^=\x5c\x1b(B".decode("iso2022_jp")),
        ("GBK", "LO", b"\x95\x5c", "昞"),
    ],
)
def test_the_examples_of_the_standard_are_read_as_it_reads_them(
    declared: str, vr: str, value: bytes, text: str
) -> None:
    assert read(declared, value, vr) == Text(text)


@pytest.mark.parametrize("declared", OF_ONE_SET)
def test_a_text_is_read_in_each_repertoire(declared: str) -> None:
    codec, text = OF_ONE_SET[declared]
    assert read(declared, text.encode(codec)) == Text(text)
    assert any(ord(one) > 127 for one in text)


@pytest.mark.parametrize("declared", EXTENDED)
def test_what_pydicom_writes_with_code_extensions_is_read(declared: str) -> None:
    encodings, text = EXTENDED[declared]
    assert read(declared, encode_string(text, encodings)) == Text(text)


@given(data=st.data(), declared=st.sampled_from(sorted(OF_ONE_SET)))
def test_whatever_a_repertoire_holds_comes_back(data: st.DataObject, declared: str) -> None:
    codec, _ = OF_ONE_SET[declared]
    if declared in WHOLE:
        text = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
        value = text.encode(codec, "ignore")
    else:
        value = bytes(data.draw(st.lists(st.integers(0xA1, 0xDF) | st.integers(0x20, 0x7E), max_size=20)))
    text = value.decode(codec, "ignore")
    assert read(declared, text.encode(codec)) == Text(text)


@pytest.mark.parametrize(
    ("declared", "meant"),
    [
        ("ISO-IR 192", "ISO_IR 192"),
        ("ISO IR 192", "ISO_IR 192"),
        ("ISO_IR_192", "ISO_IR 192"),
        ("iso_ir 192", "ISO_IR 192"),
        ("utf-8", "ISO_IR 192"),
        ("UTF8", "ISO_IR 192"),
        ("\\ISO_IR 192", "ISO_IR 192"),
        (" ISO_IR 100 ", "ISO_IR 100"),
        ("ISO IR 100", "ISO_IR 100"),
        ("ISO 2022 IR 100", "ISO_IR 100"),
        ("ISO-8859-1", "ISO_IR 100"),
        ("Latin1", "ISO_IR 100"),
        ("ISO_8859-5", "ISO_IR 144"),
        ("GB 18030", "GB18030"),
        ("gb18030", "GB18030"),
        ("ISO 2022 GBK", "GBK"),
        ("GB2312", "ISO 2022 IR 58"),
        ("ISO 2022 58", "ISO 2022 IR 58"),
        ("ISO 2022 IR 149", "\\ISO 2022 IR 149"),
        ("ISO 2022 IR 87", "\\ISO 2022 IR 87"),
        ("ISO_IR 13\\ISO 2022 IR 87", "ISO 2022 IR 13\\ISO 2022 IR 87"),
    ],
)
def test_a_misspelt_term_counts_as_what_it_can_only_mean(declared: str, meant: str) -> None:
    assert CharacterSet.declared(declared.encode()) == CharacterSet.declared(meant.encode())


def test_terms_that_mean_different_repertoires_are_not_mixed_up() -> None:
    sets = {CharacterSet.declared(term.encode()) for term in SINGLE_BYTE}
    assert len(sets) == len(SINGLE_BYTE)


@pytest.mark.parametrize("declared", ["", "ISO_IR 6", "ISO_IR 999", "klingon", "ISO_IR 192x", "\\\\", "??"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"A-17", Text("A-17")),
        ("Müller 王".encode(), Text("Müller 王")),
        (b"G\xfcnther", Text(r"G\374nther", is_whole=False)),
        (b"\xcd\xf5\xd0\xa1", Text(r"\315\365\320\241", is_whole=False)),
    ],
)
def test_where_nothing_is_declared_utf_8_is_read_and_no_other_is_guessed(
    declared: str, value: bytes, text: Text
) -> None:
    assert read(declared, value) == text


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        ("ISO_IR 192", b"G\xfcnther", r"G\374nther"),
        ("ISO_IR 100", b"\x93G\xfcnther\x94", r"\223Günther\224"),
        ("ISO_IR 127", b"\xc7\xa1\xc7", "ا" + r"\241" + "ا"),
        ("GB18030", b"\xcd\xf5\xff", "王" + r"\377"),
        ("\\ISO 2022 IR 87", b"\x1b$B;3E\x1b(BX", "山" + r"\105X"),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe6\xb5", "길" + r"\265"),
        ("ISO_IR 100", "é\x80".encode(), "é\x80"),
        ("ISO_IR 192", "\ufeffA-".encode() + b"\xfc", r"A-\374"),
        ("\\ISO 2022 IR 126\\ISO 2022 IR 144", b"\xc4\x1b-F\xc4\x1b-L\xbb", r"\304" + "ΔЛ"),
    ],
)
def test_a_byte_without_a_meaning_is_shown_and_the_rest_is_read(declared: str, value: bytes, text: str) -> None:
    assert read(declared, value).text == text


@given(
    declared=st.sampled_from([*OF_ONE_SET, *EXTENDED, "", "nonsense", "\\ISO 2022 IR 58"]) | st.text(max_size=30),
    value=st.binary(max_size=40)
    | st.lists(
        st.sampled_from([b"\x1b$B", b"\x1b$(D", b"\x1b(B", b"\x1b$)C", b"\x1b$)A", b"\x1b)I", b"\x1b-L", b"\x1b", b"^"])
        | st.binary(min_size=1, max_size=4),
        max_size=12,
    ).map(b"".join),
    vr=st.sampled_from(["PN", "LO", "SH", "ST", "LT", "UT", "UC", "CS", "UI"]),
)
def test_whatever_the_bytes_are_nothing_is_lost_and_nothing_raises(declared: str, value: bytes, vr: str) -> None:
    said = CharacterSet.declared(declared.encode("utf-8", "replace")).read(value, vr)
    assert "\ufffd" not in said.text or b"\xef\xbf\xbd" in value or declared in ("GB18030", "GBK", "nonsense")
    assert is_one_line(on_one_line(said.text))
    assert said.text.isascii() or not value.isascii() or b"\x1b" in value


@given(one=st.binary(max_size=12), other=st.binary(max_size=12))
def test_different_bytes_without_a_meaning_stay_different(one: bytes, other: bytes) -> None:
    texts = {read("", value).text for value in (one, other)}
    assert len(texts) == len({one, other}) or b"\\" in one + other or b"\x1b" in one + other


def test_an_item_of_a_sequence_is_in_its_own_character_set_or_in_that_of_what_it_is_in(tmp_path: Path) -> None:
    own, inherited, deeper = Dataset(), Dataset(), Dataset()
    own.SpecificCharacterSet, own.ReferringPhysicianName = "ISO_IR 144", "Л"
    deeper.ReferringPhysicianName = inherited.ReferringPhysicianName = "Ü"
    inherited.RequestAttributesSequence = [deeper]
    made = dataset(picture(), RequestAttributesSequence=[own, inherited])
    made.SpecificCharacterSet, made.PatientName = "ISO_IR 100", "Ü^é"
    path = save(tmp_path / "a.dcm", made)
    assert b"\xbb" in path.read_bytes()
    assert path.read_bytes().count(b"\xdc ") == 2
    with open_dicom(path, LIMITS, ["PatientName", "RequestAttributesSequence"]) as file:
        first, second = file.header.items("RequestAttributesSequence")
        (third,) = second.items("RequestAttributesSequence")
        said = [one.text("ReferringPhysicianName") for one in (first, second, third)]
        assert [file.header.text("PatientName"), *said] == ["Ü^é", "Л", "Ü", "Ü"]
    read_by_pydicom = dcmread(path)
    read_texts(read_by_pydicom)
    first, second = read_by_pydicom.RequestAttributesSequence
    said = [str(one.ReferringPhysicianName) for one in (first, second, second.RequestAttributesSequence[0])]
    assert [str(read_by_pydicom.PatientName), *said] == ["Ü^é", "Л", "Ü", "Ü"]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_texts_are_read_in_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    path = write(tmp_path / "a.dcm", picture(), syntax, SpecificCharacterSet="GB18030", AccessionNumber="检查一号")
    assert read_identity(path, LIMITS).accession_number == "检查一号"
    read = dcmread(path)
    read_texts(read)
    assert read.AccessionNumber == "检查一号"


def is_one_patient(patients: Sequence[PatientId]) -> bool:
    try:
        require_one_patient(dict(enumerate(patients, start=1)))
    except StudyRefused:
        return False
    return True


@pytest.mark.parametrize("one", OF_ONE_SET)
def test_a_patient_id_is_the_same_in_its_own_repertoire_and_in_unicode(tmp_path: Path, one: str) -> None:
    codec, text = OF_ONE_SET[one]
    paths = [
        write_texts(tmp_path / "a.dcm", one, PatientID=text.encode(codec)),
        write_texts(tmp_path / "b.dcm", "ISO_IR 192", PatientID=normalize("NFD", text).encode()),
    ]
    patients = [read_identity(path, LIMITS).patient for path in paths]
    assert is_one_patient(patients)
    other = write_texts(tmp_path / "c.dcm", "ISO_IR 192", PatientID=(text + "X").encode())
    assert not is_one_patient([*patients, read_identity(other, LIMITS).patient])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # Nothing is declared, and the same bytes are declared elsewhere: that file says what they mean.
        ((None, b"M\xdcL"), ("ISO_IR 100", b"M\xdcL"), True),
        (("ISO_IR 192", b"M\xdcL"), ("ISO_IR 100", b"M\xdcL "), True),
        ((None, b"M\xdcL"), (None, b"M\xdcL"), True),
        ((None, b"M\xdcL"), (None, b"M\xd6L"), False),
        ((None, b"M\xdcL"), ("ISO_IR 100", b"M\xd6L"), False),
        # It is the other text, in a repertoire that nobody declared.
        ((None, b"M\xdcL"), ("ISO_IR 192", "MÜL".encode()), True),
        ((None, b"M\xdcL"), ("ISO_IR 192", "MÖL".encode()), False),
        ((None, "王-1".encode("gb18030")), ("ISO_IR 192", "王-1".encode()), True),
        (("ISO_IR 6", "길동".encode("euc_kr")), ("\\ISO 2022 IR 149", b"\x1b$)C" + "길동".encode("euc_kr")), True),
        (("klingon", "Люк".encode("iso8859_5")), ("ISO_IR 192", "Люк".encode()), True),
        (("klingon", "Люк".encode("iso8859_5")), ("ISO_IR 192", "Люд".encode()), False),
        ((None, "MÜL".encode()), ("ISO_IR 100", b"M\xdcL"), True),
        # The same bytes in two repertoires are two texts.
        (("ISO_IR 100", b"\xdc"), ("ISO_IR 144", b"\xdc"), False),
        (("ISO_IR 100", b""), ("ISO_IR 144", b"\xdc"), True),
        (("ISO_IR 100", b"P1"), ("GB18030", b" P1 "), True),
        (("ISO_IR 192", "\ufeffMÜL".encode()), ("ISO_IR 100", b"M\xdcL"), True),
        (("ISO_IR 100", b"P1"), ("ISO_IR 100", b"p1"), False),
        (("ISO_IR 100", b"7" * 2000), ("ISO_IR 100", b"7" * 2000), True),
        (("ISO_IR 100", b"7" * 2000), ("ISO_IR 100", b"7" * 2001), False),
        (("ISO_IR 192", b"7" * 1023 + "Ü".encode()), ("ISO_IR 192", b"7" * 1023 + "Ö".encode()), False),
    ],
)
def test_what_can_not_be_read_is_no_other_patient_where_the_same_bytes_can(
    tmp_path: Path, one: tuple[str | None, bytes], other: tuple[str | None, bytes], same: bool
) -> None:
    paths = [
        write_texts(tmp_path / f"{at}.dcm", declared, PatientID=value)
        for at, (declared, value) in enumerate((one, other))
    ]
    assert is_one_patient([read_identity(path, LIMITS).patient for path in paths]) is same


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([("ISO_IR 192", b"A"), ("ISO_IR 192", b""), ("ISO_IR 192", b"B")], "files 1 and 3 of"),
        ([("ISO_IR 100", b"\xdc"), ("ISO_IR 100", b"\xdc"), ("ISO_IR 144", b"\xdc")], "files 1 and 3 of"),
        ([("ISO_IR 192", b"A"), (None, b"\xdc")], "of file 2 of the study cannot be read"),
        ([(None, b"\xdc"), ("ISO_IR 192", "Ö".encode()), (None, b"\xdc")], "of file 1 of the study cannot be read"),
        ([(None, b"\xdc"), ("ISO_IR 100", b"\xdc"), ("ISO_IR 192", b"\xfc")], "of file 3 of the study cannot be read"),
    ],
)
def test_a_refusal_says_which_file_is_another_patient_s_or_can_not_be_read(
    tmp_path: Path, ids: list[tuple[str | None, bytes]], said: str
) -> None:
    paths = [write_texts(tmp_path / f"{at}.dcm", one, PatientID=value) for at, (one, value) in enumerate(ids)]
    with pytest.raises(StudyRefused) as refused:
        require_one_patient({at: read_identity(path, LIMITS).patient for at, path in enumerate(paths, start=1)})
    assert refused.value.code is Code.PATIENT_MISMATCH
    assert said in refused.value.reason
    assert "Ü" not in refused.value.reason


@pytest.mark.parametrize("form", [composed, in_plain_letters])
def test_no_text_holds_up_its_reader(form: Callable[[str], str]) -> None:
    began = perf_counter()
    form("a" + "\u0301\u0323" * 500_000)
    assert perf_counter() - began < 2
    assert form("u\u0308") == "ü"


def test_an_accession_number_without_end_is_cut(tmp_path: Path) -> None:
    number = ("a" + "\u0301\u0323" * 10_000).encode()
    path = write_texts(tmp_path / "a.dcm", "ISO_IR 192", AccessionNumber=number)
    assert 64 < len(read_identity(path, LIMITS).accession_number) < 4096


@given(
    value=st.text(st.characters(max_codepoint=127)).map(lambda text: text.encode("ascii")),
    declared=st.sampled_from(["", *OF_ONE_SET, *EXTENDED, "ISO_IR 192\\ISO_IR 13", "none"]),
    vr=st.sampled_from(["LO", "SH", "PN", "UT", "DA", "UI"]),
)
def test_what_is_plain_is_the_same_text_in_every_repertoire(value: bytes, declared: str, vr: str) -> None:
    assert is_plain(value) is (b"\x1b" not in value)
    if is_plain(value):
        assert read(declared, value, vr) == Text(value.decode("ascii"))
