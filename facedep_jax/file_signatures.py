"""How files of the formats met here begin. Knows nothing of what is done with them."""

JPEG, PNG, BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"
GIF, TIFF = (b"GIF87a", b"GIF89a"), (b"II*\0", b"MM\0*")
BIG_TIFF = b"II+\0"
JPEG_2000, JPEG_2000_STREAM = b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"
HDF5 = b"\x89HDF\r\n\x1a\n"
MATROSKA, FLV, OGG = b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS"
MPEG_PROGRAM, MPEG_VIDEO = b"\0\0\x01\xba", b"\0\0\x01\xb3"
ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
# Files that begin with RIFF and their length, or with their length and ftyp, say in bytes 8 to 12 what they are.
RIFF, RIFF_IMAGE, RIFF_CLIP = b"RIFF", b"WEBP", b"AVI "
FTYP = b"ftyp"
AVIF, HEIC, HEIC_SEQUENCE = (
    (b"avif", b"avis"),
    (b"heic", b"heix", b"heim", b"heis", b"mif1"),
    (b"hevc", b"hevx", b"msf1"),
)  # ISO/IEC 23008-12
