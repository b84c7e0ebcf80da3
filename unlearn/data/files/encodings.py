"""This module turns bytes into text: marked encodings first, then UTF-8, then cp1252 with a note.

What remains is not guessed: the error names the byte, its line and an encoding option that can be pasted.
"""

import codecs

ZIP, EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The number of first bytes in which zero bytes are looked for.
LOOK = 4000
# A text with a larger share of letters outside ASCII is in no language that cp1252 covers.
FOREIGN = 0.35
OTHERS = "cp1251 for Cyrillic, shift_jis for Japanese, gb18030 for Chinese, latin1 for old Western files"


def decode(data: bytes, name: str, encoding: str = "") -> tuple[str, tuple[str, ...]]:
    """Return (text, notes) of a file's bytes. encoding: the one that a person named, else it is detected.
    ValueError with a remedy.
    """
    if data[:4] in (ZIP, EXCEL):
        raise ValueError(f"{name}: must be text, got a zip or Excel file. Save the sheet as CSV (UTF-8).")
    if encoding:
        return _said(data, name, encoding), ()
    for mark, marked in MARKS:
        if data.startswith(mark):
            note = () if marked == "utf-8-sig" else (f"{name}: was read as {marked.upper()}.",)
            return _said(data, name, marked), note
    if wide := _wide(data):
        return _said(data, name, wide), (f"{name}: was read as {wide.upper()}.",)
    if (at := data.find(b"\0")) >= 0:
        raise ValueError(
            f"{name}: must be text, got binary data (a zero byte at {at}). Give CSV, JSONL or TXT."
        )
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        return _not_utf8(data, name, error)


def _said(data: bytes, name: str, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(
            f"{name}: encoding must be a name that Python knows, such as utf-8, cp1252, latin1, got {encoding[:40]!r}."
        ) from None
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        byte = f"byte 0x{data[at]:02x} at {at} ({_line(data, at)})" if at < len(data) else "its end"
        raise ValueError(
            f"{name}: is not {encoding}: {byte} has no meaning there. Choose another encoding: {OTHERS}."
        ) from None


def _wide(data: bytes) -> str:
    """utf-16 of one byte order where nearly every second byte of the beginning is zero, as in Western text."""
    head = data[:LOOK]
    if len(head) < 4 or len(data) % 2:
        return ""
    even, odd = (head[at::2].count(0) / len(head[at::2]) for at in (0, 1))
    return "utf-16-le" if odd > 0.7 and even < 0.1 else "utf-16-be" if even > 0.7 and odd < 0.1 else ""


def _not_utf8(data: bytes, name: str, error: UnicodeDecodeError) -> tuple[str, tuple[str, ...]]:
    """cp1252 where that makes sense. Not of a UTF-8 file with broken places: it would turn every other letter wrong."""
    where = f"byte 0x{data[error.start]:02x} at {error.start} ({_line(data, error.start)})"
    lenient = data.decode("utf-8", errors="replace")
    good = sum(ch > "\x7f" and ch != "\ufffd" for ch in lenient)
    bad = lenient.count("\ufffd")
    if good > bad:
        raise ValueError(
            f"{name}: must be UTF-8, and is but for {bad} places, the first {where}. "
            "Mend that line; or read it with --encoding latin1 if letters outside English do not matter."
        ) from None
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    letters = [ch for ch in text if ch.isalpha()]
    if not text or sum(ch > "\x7f" for ch in letters) > FOREIGN * max(1, len(letters)):
        raise ValueError(
            f"{name}: is not UTF-8 ({where}), nor Windows' Western encoding. Say which with --encoding NAME: {OTHERS}."
        ) from None
    note = (
        f"{name}: is not UTF-8 and was read as cp1252 (Windows, Western). If letters look wrong, name its encoding "
        "(--encoding)."
    )
    return text, (note,)


def _line(data: bytes, at: int) -> str:
    breaks = data.count(b"\n", 0, at)
    return f"line {breaks + 1}"
