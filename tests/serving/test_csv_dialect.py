"""What a CSV file is, told from its first bytes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tactful.csv_dialect import CsvDialect, CsvDialectError, parse_delimiter, read_dialect

PATH = Path("rows.csv")


def found(head: bytes, wanted: tuple[str, ...] = ("reply",), delimiter: str | None = None):
    return read_dialect(PATH, head, wanted, delimiter)


@pytest.mark.parametrize(
    ("head", "delimiter", "columns"),
    [
        (b"ticket,reply\n", ",", ("ticket", "reply")),
        (b"\xef\xbb\xbfticket;reply;note\r\n1;a, b;c\r\n", ";", ("ticket", "reply", "note")),
        (b"ticket\treply\n", "\t", ("ticket", "reply")),
        (b"ticket|reply\n", "|", ("ticket", "reply")),
        (b'"a;b",reply\n', ",", ("a;b", "reply")),
        (b'"a,b";"reply"\n', ";", ("a,b", "reply")),
        (b"reply;note, private\n", ";", ("reply", "note, private")),
        (b"reply\nx;y\n", ",", ("reply",)),
        # The wanted column is lacking, but the others can be told.
        (b"ticket;answer\n", ";", ("ticket", "answer")),
        (b"ticket:answer\n", ",", ("ticket:answer",)),
        (b"\n\r\nticket,reply", ",", ("ticket", "reply")),
    ],
)
def test_the_delimiter_is_found_from_the_names(head, delimiter, columns):
    assert found(head) == CsvDialect(delimiter, b"\n", columns, 0)


def test_a_wanted_name_is_found_in_either_unicode_form():
    head = "nom;re\u0301ponse\n".encode()
    assert found(head, ("r\u00e9ponse",)).delimiter == ";"


def test_a_delimiter_that_is_named_is_taken():
    assert found(b"a;reply,b\n", delimiter=",").columns == ("a;reply", "b")
    assert found(b"a^reply\n", delimiter="^").columns == ("a", "reply")


def test_columns_that_may_be_parted_in_two_ways_are_not_guessed():
    with pytest.raises(CsvDialectError, match=r"may be parted by ';' or .*name --delimiter"):
        found(b"reply;x\treply\n")


@pytest.mark.parametrize(
    ("text", "value"), [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t")]
)
def test_what_a_delimiter_may_be(text, value):
    assert parse_delimiter(text) == value


@pytest.mark.parametrize("text", ["", ";;", '"', "\n", "é", "\0"])
def test_what_no_delimiter_may_be(text):
    with pytest.raises(ValueError, match="allowed is one character such as"):
        parse_delimiter(text)


def test_line_ends_of_old_macs():
    assert found(b"ticket,reply\r1,x\r").line_end == b"\r"
    assert found(b'ticket,"re\rply"\r\n1,x\r\n', ("ticket",)).line_end == b"\n"
    with pytest.raises(CsvDialectError, match=r"some lines end with a carriage return alone"):
        found(b"ticket,reply\r1,x\n")


def test_trailing_names_that_are_empty_are_no_columns():
    dialect = found(b"ticket,reply,, \n")
    assert (dialect.columns, dialect.nameless) == (("ticket", "reply"), 2)
    assert dialect.problem(["1", "x", "", ""]) == ""
    assert dialect.problem(["1", "x"]) == ""
    assert dialect.problem(["1", "x", "", "y"]) == "cell 4 is not empty, but its column has no name"
    assert dialect.problem(["1", "x", "", "", ""]) == "5 cells, but 2 columns are named"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "is empty; the first line of a CSV file names its columns"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b",,\n1,2,3\n", "the first line names no column"),
        (b",,reply\n", "the columns 1, 2 have no name; name them"),
        (b"reply,a,a\n", "columns named twice: a"),
        (b"reply,\xff\n", "the names of columns are not UTF-8"),
        (b'reply,"x"y\n', "no names of columns: "),
        (b"sep=;\r\nticket;reply\r\n", "begins with the line 'sep=;'"),
        (b"PK\x03\x04\x14", "an Excel workbook; save its sheet as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an Excel workbook of the old kind"),
        (b'{"id": 1, "reply": "x"}\n', "is no CSV file but JSON; write one object a line"),
        (b'[\n  {"id": 1, "reply": "x"}\n]\n', "is no CSV file but JSON"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"PAR1\x15", "a Parquet file; name it .parquet"),
        (b"reply,\0\n", "holds zero bytes"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_it_is(head, message):
    with pytest.raises(CsvDialectError) as caught:
        found(head)
    assert message in str(caught.value)
    assert "rows.csv" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_remedy_for_another_encoding_works(tmp_path, encoding):
    path = tmp_path / "my rows.csv"
    path.write_text("ticket,reply\n1,Désolé\n", encoding=encoding)
    with pytest.raises(CsvDialectError, match=r"text, and CSV is read as UTF-8") as caught:
        read_dialect(path, path.read_bytes(), {"reply"})
    new = run_remedy(str(caught.value).rpartition("convert it: ")[2])
    assert new.read_bytes().decode() == "ticket,reply\n1,Désolé\n"
    assert read_dialect(new, new.read_bytes(), {"reply"}).columns == ("ticket", "reply")


def test_the_remedy_for_mixed_line_ends_works(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"ticket,reply\r1,x\n2,y\r\n")
    with pytest.raises(CsvDialectError, match="alike") as caught:
        read_dialect(path, path.read_bytes(), {"reply"})
    new = run_remedy(str(caught.value).rpartition("alike: ")[2])
    assert new.read_bytes() == b"ticket,reply\n1,x\n2,y\n\n"


def run_remedy(command: str) -> Path:
    """Run what a message says; the file that it writes."""
    subprocess.run(["sh", "-c", command], check=True)
    return Path(shlex.split(command)[-1])


def test_the_remedy_for_what_came_through_a_pipe_is_a_filter():
    with pytest.raises(CsvDialectError) as caught:
        read_dialect("standard input", "ticket,reply\n".encode("utf-16"), {"reply"})
    assert str(caught.value).startswith("standard input is UTF-16 text")
    assert str(caught.value).endswith("by sending it through iconv -f UTF-16 -t UTF-8")
