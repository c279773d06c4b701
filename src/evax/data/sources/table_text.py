"""Tables and lists as text, whatever wrote them: packed or not, UTF-8 or UTF-16, separated by one of several marks."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from evax.data.contents import HEAD, mistaken

DELIMITERS = ",;\t|"
# Excel's own first line, which says what separates the columns
_SEP = re.compile(r'"?sep=(?P<mark>[^"])"?[,;\t|]*\s*', re.IGNORECASE)
_BOMS = (  # UTF-32's begin with UTF-16's
    *((bom, "utf-32") for bom in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    *((bom, "utf-16") for bom in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)
_FORMS = (
    (b"PK\x03\x04", "an Excel workbook (.xlsx) or another zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite", "a database"),
    (b"BZh", "packed by bzip2"),
    (b"\xfd7zXZ", "packed by xz"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard"),
)


class Row(NamedTuple):
    """A row of a table: the line on which it ends, and its cells, without blanks around them."""

    line: int
    cells: list[str]


def opened(
    path: Path, encoding: str | None = None, errors: str = "replace", newline: str | None = ""
) -> io.TextIOWrapper:
    """A file as text, unpacked where it is gzip; UTF-8, or UTF-16 or -32 by its mark, unless `encoding` is given."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    content = gzip.open(path) if is_packed else path.open("rb")  # noqa: SIM115, closed with the wrapper
    encoding = encoding or _encoding_of(content.peek(HEAD)[:HEAD])
    return io.TextIOWrapper(content, encoding=encoding, errors=errors, newline=newline)


def read_text(path: Path) -> str:
    """A whole file of text, such as a list of names; every end of a line is a newline."""
    with opened(path, newline=None) as file:
        return file.read()


class Table:
    """A table that somebody wrote with a program of their own.

    The first row names the columns; before it there may be Excel's `sep=;`. Columns are separated by the mark that
    makes `wanted` names (else the most names) of that row. Raises ValueError, one line with the file and the fix, for
    what is no such table, and while it is read, for a quote that is never closed.
    """

    def __init__(self, path: Path, wanted: Collection[str], encoding: str | None = None) -> None:
        _check_encoding(encoding)
        self.path = path
        self.encoding = encoding
        with path.open("rb") as file:
            self._check_form(file.read(HEAD))
        self._told = self._told_delimiter()
        headers = {mark: self._header(mark) for mark in self._told or DELIMITERS}
        self._delimiter = max(headers, key=lambda mark: (set(wanted) <= {*headers[mark]}, len(headers[mark])))
        self.names = headers[self._delimiter]

    def rows(self) -> Iterator[Row]:
        """All rows but the first that hold anything."""
        for number, row in enumerate(self._read(self._delimiter)):
            if number:
                yield row

    def _header(self, delimiter: str) -> list[str]:
        first = next(self._read(delimiter, strict=False), None)  # quotes make sense with the right mark alone
        if first is None:
            raise ValueError(f"{self.path}: the table has no rows; its first row must name the columns")
        return [re.sub(r"\s*[\r\n]+\s*", " ", name.strip("\ufeff ")) for name in first.cells]

    def _read(self, delimiter: str, *, strict: bool = True) -> Iterator[Row]:
        try:
            with opened(self.path, self.encoding, errors="surrogateescape") as file:
                skipped = 1 if self._told and file.readline() else 0
                reader = csv.reader(file, delimiter=delimiter, strict=strict, skipinitialspace=True)
                for cells in reader:
                    if any(map(str.strip, cells)):
                        yield Row(reader.line_num + skipped, [cell.strip() for cell in cells])
        except csv.Error as error:
            line = reader.line_num + skipped
            raise ValueError(
                f"{self.path}, line {line}: {error}; a quote in a cell is written twice, and the cell within quotes"
            ) from None
        except UnicodeError:
            raise ValueError(
                f"{self.path} is not {self.encoding or 'the UTF-16 that it begins as'}: save it as CSV UTF-8"
            ) from None
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{self.path} is damaged ({type(error).__name__}): copy or save it again") from None

    def _told_delimiter(self) -> str | None:
        """The mark that a first line `sep=;` names."""
        try:
            with opened(self.path, self.encoding, errors="surrogateescape") as file:
                match = _SEP.fullmatch(file.readline().strip("\ufeff"))
        except (UnicodeError, EOFError, OSError, zlib.error):  # named when the rows are read
            match = None
        return match["mark"] if match else None

    def _check_form(self, head: bytes) -> None:
        if told := mistaken(head):
            raise ValueError(f"{self.path}: {told}")
        for beginning, form in _FORMS:
            if head.startswith(beginning):
                raise ValueError(f"{self.path}: it is {form}; save the table as CSV UTF-8, and give that file")


def not_utf8(cells: Sequence[str]) -> str | None:
    """The first cell with bytes that the encoding does not have."""
    return next((cell for cell in cells if any("\udc80" <= letter <= "\udcff" for letter in cell)), None)


def _check_encoding(encoding: str | None) -> None:
    try:
        "".encode(encoding or "utf-8")
    except LookupError:
        raise ValueError(f"source.encoding={encoding}: no such encoding; such are utf-8, cp1252 and gbk") from None


def _encoding_of(head: bytes) -> str:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if head[1::2].count(0) > len(head) // 4:  # letters of English in UTF-16 without its mark
        return "utf-16-le"
    return "utf-16-be" if head[0::2].count(0) > len(head) // 4 else "utf-8-sig"
