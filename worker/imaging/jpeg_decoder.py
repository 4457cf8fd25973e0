"""Which library decodes JPEG images here: two may differ by a grey value, and scores then by some thousandths."""


def jpeg_decoder() -> str:
    """Name the library that 8-bit JPEG is decoded with, in DICOM files and others: Pillow's, to its minor version.

    What is compressed without loss gives the same pixels, whatever decodes it.
    """
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    name, version = ("libjpeg-turbo", turbo) if turbo else ("libjpeg", features.version_codec("jpg"))
    return f"{name} {'.'.join(str(version).split('.')[:2])}"
