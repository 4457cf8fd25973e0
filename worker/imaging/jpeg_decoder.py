"""Which library decodes JPEG images here: two may differ by a grey value, and scores then by some thousandths."""


def jpeg_decoder() -> str:
    """Name the library that 8-bit JPEG is decoded with, in DICOM files and others: Pillow's, to its minor version.

    Lossless JPEG, and lossless JPEG 2000, give the same pixels whatever decodes them.
    """
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    name, version = ("libjpeg-turbo", turbo) if turbo else ("libjpeg", features.version_codec("jpg"))
    return f"{name} {'.'.join(str(version).split('.')[:2])}"
