"""How a text table is written: its encoding, delimiter and header, found out where not told."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Longest header believed: 10 000 series with names of 400 bytes. A longer first line is no table.
MAX_HEADER_BYTES = 4 << 20
# How much of the file is looked at to find delimiter and width.
SAMPLE_BYTES = 256 << 10
SAMPLE_LINES = 200
# On equal evidence the earlier wins: a comma is also a decimal sign and stands in names.
DELIMITERS = ("\t", ";", "|", ",")
DELIMITER_NAMES = {"\t": "tab", ";": "semicolon", "|": "vertical bar", ",": "comma", " ": "space"}

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\x1a"))
_NEWLINE = re.compile("\r\n|\r|\n")
_SEPARATOR_HINT = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class TableError(Exception):
    """A file can't be read as a table: one sentence with what was expected, what came and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the caller knows of the file; ``None`` means: find out and say so.

    ``delimiter`` is one character, or ``tab``. ``decimal`` is ``.`` or ``,``. ``time_format`` is a strptime
    format. ``time_zone`` is an IANA name that holds for times without an offset (UTC if None); offsets in the
    text are always honoured. ``units_row`` says whether the row under the header holds units.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    time_column: str | None = None
    time_format: str | None = None
    time_zone: str | None = None
    units_row: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The head of a text table: where its body starts and how a row is split."""

    delimiter: str
    header: tuple[str, ...]
    header_line: int  # 1-based
    body_offset: int  # into the UTF-8 bytes
    assumed: tuple[str, ...]


def decode(data: bytes, path: str, encoding: str | None) -> tuple[bytes, tuple[str, ...]]:
    """Return the file as UTF-8 bytes without a byte-order mark, and what was assumed.

    Without ``encoding``: a byte-order mark decides, then UTF-16 by its zero bytes, then UTF-8 if all of it is
    valid, else cp1252. Raises TableError for an unknown or unfitting encoding, and for what is no text.
    """
    if encoding is not None:
        return _transcode(data, path, encoding), ()
    for bom, name in _BOMS:
        if data.startswith(bom):
            text = data[len(bom) :]
            said = () if name == "utf-8" else (f"encoding {name}, from the byte-order mark",)
            return _transcode(text, path, name), said
    if guess := _guess_utf16(data):
        return _transcode(data, path, guess), (f"encoding {guess}, from its zero bytes",)
    _refuse_binary(data, path)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = _transcode(data, path, "cp1252")
        line = data.count(b"\n", 0, error.start) + 1
        return text, (f"encoding cp1252, since line {line} is not UTF-8 (--encoding to change)",)
    return data, ()


def find_dialect(data: bytes, path: str, options: TableOptions) -> Dialect:
    """Find header and delimiter in UTF-8 bytes. Raises TableError where there is no header of two columns.

    Skipped above the header: blank lines, lines that begin with ``#``, and a spreadsheet's ``sep=;``.
    """
    assumed: list[str] = []
    delimiter = _check_delimiter(options.delimiter)
    number, offset, line, num_skipped, hint = _find_header(data, path)
    delimiter = delimiter or hint
    if num_skipped:
        assumed.append(f"{num_skipped} comment line(s) above the header skipped")
    sample = _sample_lines(data, offset)
    if delimiter is None:
        delimiter = _sniff_delimiter(line, sample)
        if delimiter is not None:
            assumed.append(f"delimiter {DELIMITER_NAMES[delimiter]}")
    header = split_line(line, delimiter) if delimiter else [line.strip()]
    if delimiter is None or len(header) < 2:
        told = f" with delimiter {delimiter!r}" if delimiter else ""
        raise TableError(
            f"{path}: expected a time column and at least one more, but line {number} holds a single column"
            f"{told}: {shorten(line)!r}; name the right one with --delimiter"
        )
    # Names over several lines in quotes would be taken for rows.
    if line.count('"') % 2 and re.search(rf'(?:^|{re.escape(delimiter)})\s*"', line):
        raise TableError(
            f"{path}: expected all names of columns on one line, but line {number} has a quote that is not "
            f"closed: {shorten(line)!r}; put the header on one line"
        )
    return Dialect(
        delimiter=delimiter,
        header=tuple(_fit_width(header, [split_line(text, delimiter) for text in sample])),
        header_line=number,
        body_offset=offset,
        assumed=tuple(assumed),
    )


def split_line(line: str, delimiter: str) -> list[str]:
    """Cells of one line, quotes removed and outer blanks trimmed."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:  # a cell beyond the csv module's limit: this line tells nothing
        return []


def shorten(text: str, limit: int = 60) -> str:
    """``text`` cut to what fits in an error message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _transcode(data: bytes, path: str, encoding: str) -> bytes:
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        at = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
        raise TableError(
            f"{path}: expected {encoding} text, but it is not{at}; name its --encoding"
        ) from None
    except (LookupError, ValueError):
        raise TableError(
            f"{path}: unknown encoding {encoding!r}; examples for --encoding are utf-8, cp1252, utf-16"
        ) from None
    utf8 = text.removeprefix("\ufeff").encode("utf-8", "replace")
    _refuse_binary(utf8, path)
    return utf8


def _guess_utf16(data: bytes) -> str | None:
    head = data[:4096]
    half = max(1, len(head) // 2)
    # Digits and ASCII letters make every second byte zero; a third is beyond any 8-bit text.
    if head[1::2].count(0) > half / 3 and head[0::2].count(0) <= half / 20:
        return "utf-16-le"
    if head[0::2].count(0) > half / 3 and head[1::2].count(0) <= half / 20:
        return "utf-16-be"
    return None


def _refuse_binary(data: bytes, path: str) -> None:
    if data.startswith(b"PK\x03\x04"):
        raise TableError(
            f"{path}: expected CSV or Parquet, but this is a zip or Excel workbook; export it as CSV"
        )
    head = data[:SAMPLE_BYTES]
    first_line = re.split(rb"[\r\n]", head.lstrip(b"\r\n"), maxsplit=1)[0]
    num_controls = len(head) - len(head.translate(None, _CONTROLS))
    in_header = len(first_line) - len(first_line.translate(None, _CONTROLS))
    # A logger that lost power leaves some zero bytes in its rows, which are read as text; more is no text.
    if in_header or num_controls > len(head) / 50:
        raise TableError(
            f"{path}: expected CSV or Parquet, but {num_controls:,} of the first {len(head):,} bytes are "
            "control characters, so this is no text; check the file, or name its --encoding"
        )


def _check_delimiter(delimiter: str | None) -> str | None:
    if delimiter is None:
        return None
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or ord(delimiter) > 127 or delimiter in '\r\n"':
        raise TableError(f"expected one ASCII character or 'tab' as --delimiter, but got {delimiter!r}")
    return delimiter


def _find_header(data: bytes, path: str) -> tuple[int, int, str, int, str | None]:
    """Return the header's line number, the offset behind it, its text, comments skipped, ``sep=`` given."""
    num_skipped, hinted = 0, None
    for number, offset, line in _head_lines(data, path):
        if hint := _SEPARATOR_HINT.fullmatch(line):
            hinted = hint.group(1)
        elif line.lstrip().startswith("#"):
            num_skipped += 1
        elif line.strip():
            return number, offset, line, num_skipped, hinted
    raise TableError(f"{path}: expected a header and rows, but the file holds only blank or comment lines")


def _head_lines(data: bytes, path: str) -> Iterator[tuple[int, int, str]]:
    """Yield (line number, offset of the next line, text) for the lines at the top."""
    offset = number = 0
    while offset < len(data):
        number += 1
        found = re.compile(rb"\r\n|\r|\n").search(data, offset, offset + MAX_HEADER_BYTES)
        if found is None and len(data) - offset > MAX_HEADER_BYTES:
            raise TableError(
                f"{path}: expected a header, but line {number} is longer than {MAX_HEADER_BYTES >> 20} MB, "
                "so this is no table of rows"
            )
        end, following = found.span() if found else (len(data), len(data))
        yield number, following, data[offset:end].decode("utf-8", "replace")
        offset = following


def _sample_lines(data: bytes, offset: int) -> list[str]:
    chunk = data[offset : offset + SAMPLE_BYTES]
    lines = _NEWLINE.split(chunk.decode("utf-8", "replace"))
    if len(data) - offset > SAMPLE_BYTES:
        lines.pop()  # cut off
    return [line for line in lines[:SAMPLE_LINES] if line.strip()]


def _sniff_delimiter(header: str, sample: Sequence[str]) -> str | None:
    best: str | None = None
    best_score = (-1.0, 0)
    for delimiter in DELIMITERS:
        names = split_line(header, delimiter)
        if len(names) < 2:
            continue
        agreeing = sum(_fits(split_line(line, delimiter), names) for line in sample)
        score = (agreeing / len(sample) if sample else 0.0, len(names))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _fits(cells: Sequence[str], names: Sequence[str]) -> bool:
    """Whether cells and names are equally many, but for a delimiter at the end of the one or the other."""
    longer = cells if len(cells) > len(names) else names
    return len(cells) == len(names) or (abs(len(cells) - len(names)) == 1 and not longer[-1])


def _fit_width(header: list[str], sample: Sequence[Sequence[str]]) -> list[str]:
    """Allow for a delimiter at the end of every row but not of the header, or the other way round."""
    if not sample:
        return header
    width = Counter(len(cells) for cells in sample).most_common(1)[0][0]
    if width == len(header) + 1 and all(not cells[-1] for cells in sample if len(cells) == width):
        return [*header, ""]
    if width == len(header) - 1 and not header[-1]:
        return header[:-1]
    return header
