"""HL7 messages as a RIS sends them."""


def segments(*lines: str) -> bytes:
    return "".join(f"{line}\r" for line in lines).encode()


def msh(kind: str, control_id: str = "M1", application: str = "RIS", charset: str = "UNICODE UTF-8") -> str:
    return f"MSH|^~\\&|{application}|HOSPITAL|DLR||20261130080000||{kind}|{control_id}|P|2.5.1||||||{charset}"


def segment(name: str, **fields: str) -> str:
    """A segment; ``_18`` is its field 18."""
    there = {int(number[1:]): value for number, value in fields.items()}
    return "|".join([name, *(there.get(number, "") for number in range(1, max(there) + 1))])


def oru(accession: str = "A77", status: str = "F", priority: str = "", control_id: str = "M1") -> bytes:
    """A report: its accession number in OBR-18."""
    obr = segment("OBR", _1="1", _2="P1", _3="F1^RIS", _4="USB", _18=accession, _25=status, _27=priority)
    pid = "PID|1||P1^^^HOSPITAL||DOE^JANE"
    return segments(msh("ORU^R01^ORU_R01", control_id), pid, obr, "OBX|1|TX|R^Report||text")


def orm(accession: str = "A77", status: str = "CM", control_id: str = "M1") -> bytes:
    """An order whose status changed."""
    obr = segment("OBR", _1="1", _3="F1", _18=accession)
    return segments(msh("ORM^O01", control_id), "PID|1||P1", f"ORC|SC|P1|F1||{status}", obr)


def omi(accession: str = "A88", study: str = "1.2.3.4", priority: str = "R", control_id: str = "M1") -> bytes:
    """An imaging order."""
    return segments(
        msh("OMI^O23^OMI_O23", control_id),
        "ORC|SC|P1|F1||CM",
        f"TQ1|1||||||||{priority}^^HL70485",
        "OBR|1|P1|F1|USB",
        f"IPC|{accession}^RIS|RP1|{study}^RIS|SPS1",
    )
