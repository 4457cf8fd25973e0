"""Where a lesion lies in the breast, and in which plane it was imaged, as DICOM codes it (PS3.16).

SRT is an older scheme of the same concepts, which archives hold too.
"""

Code = tuple[str, str]
"""(coding scheme designator, code value)"""

LATERALITIES: dict[Code, str] = {
    ("SCT", "7771000"): "left",
    ("SCT", "80248007"): "left",
    ("SCT", "24028007"): "right",
    ("SCT", "73056007"): "right",
    ("SRT", "G-A101"): "left",
    ("SRT", "T-04030"): "left",
    ("SRT", "G-A100"): "right",
    ("SRT", "T-04020"): "right",
}
"""CID 244 "Laterality" and CID 6022 "Side": "Left" and "Left breast" say the same of a lesion in a breast."""

CLOCK_POSITIONS: dict[Code, int] = {
    ("SCT", "129772004"): 1,
    ("SCT", "129773009"): 2,
    ("SCT", "129774003"): 3,
    ("SCT", "129775002"): 4,
    ("SCT", "129776001"): 5,
    ("SCT", "129777005"): 6,
    ("SCT", "129778000"): 7,
    ("SCT", "129779008"): 8,
    ("SCT", "129780006"): 9,
    ("SCT", "129781005"): 10,
    ("SCT", "129782003"): 11,
    ("SCT", "129783008"): 12,
    **{("SRT", f"F-0178{digit}"): hour for hour, digit in enumerate("123456789ABC", start=1)},
}
"""CID 6018 "Clockface Location or Region": its hours. Its regions, such as the axilla, have no hour."""

PLANES: dict[Code, str] = {
    ("SCT", "62824007"): "transverse",
    ("SCT", "38717003"): "longitudinal",
    ("SCT", "21114003"): "oblique",
    ("SRT", "G-A117"): "transverse",
    ("SRT", "G-A143"): "longitudinal",
    ("SRT", "G-A472"): "oblique",
}
"""CID 6 "Transducer Orientation"; DICOM has no code for the radial and the antiradial plane."""

FINDING_SITE = {("SCT", "363698007"), ("SRT", "G-C0E3")}
"""The concept "Finding Site"."""

LATERALITY = {("SCT", "272741003"), ("SRT", "G-C171")}
"""The concept "Laterality", of CID 210 and TID 4201 to 4206."""

CLOCK_OR_REGION = {("DCM", "111014"), ("SCT", "106233006"), ("SRT", "G-A1F8")}
"""The concepts "Clockface or region", and "Topographical modifier" of a finding site."""

DISTANCE_FROM_NIPPLE = {("DCM", "121242")}
DISTANCE_FROM_SKIN = {("DCM", "121243")}
"""Both of CID 6165 "Breast Linear Measurement"."""

IMAGE_VIEW = {("DCM", "111031")}
"""The concept "Image View"."""

MILLIMETRES: dict[Code, float] = {("UCUM", "mm"): 1.0, ("UCUM", "cm"): 10.0}
"""CID 7460 "Linear Measurement Unit", as far as it is of use in a breast."""
