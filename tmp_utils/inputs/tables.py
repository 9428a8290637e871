"""Tables and TOML files that people edit, read whole and checked field by field.

Conventions: files are UTF-8, with or without its mark, and end their lines in any way. A CSV has a header, one row a
line and a newline at its end, so that a cut one is noticed. Every error names file, field, value and what is allowed.

read_rows : CSV -> its rows, as text.
read_toml : TOML -> its tables.
validate  : values -> a pydantic class, or one error that names each field that is wrong.
Name, Words, Positive, ... : what a field may be.
"""

import csv
import inspect
import io
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

REMEDY = "Correct the file; `git checkout -- data` restores the shipped ones."


def _words(text: str) -> str:
    if not text.strip() or not text.isprintable() or set(text) & set("{}"):
        raise ValueError("expected words on one line, without braces")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise ValueError("expected letters, digits, _, . and -, since files are named by it")
    return text


Name = Annotated[str, AfterValidator(_name)]
Words = Annotated[str, AfterValidator(_words)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def read_rows(path: Path, key: str | tuple[str, ...]) -> list[dict[str, str]]:
    """Read a CSV's rows as text.

    Parameters
    ----------
    key : the column, or columns, in which no two rows may be equal.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : it is not a whole CSV in UTF-8, or has a row twice.
    """
    text = _read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    keys = [key] if isinstance(key, str) else list(key)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not a whole table ({error}). {REMEDY}") from error
    columns = reader.fieldnames or []
    if missing := [column for column in keys if column not in columns]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; it has {', '.join(columns)}. {REMEDY}")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"{path}, row {line}: more or fewer fields than the {len(columns)} columns. {REMEDY}")
    _refuse_cut(path, text)
    seen = set()
    for line, row in enumerate(rows, 2):
        values = tuple(row[column] for column in keys)
        if values in seen:
            raise ValueError(f"{path}, row {line}: {', '.join(values)} appears twice. {REMEDY}")
        seen.add(values)
    return rows


def read_toml(path: Path, ends_in_newline: bool = False) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    ends_in_newline : whether a file without one at its end is taken for cut; not every editor writes one.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : it is not TOML in UTF-8.
    """
    text = _read_text(path)
    if ends_in_newline:
        _refuse_cut(path, text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f'{path}: not TOML ({error}). A line reads: name = "words", or name = 5') from error


def _refuse_cut(path: Path, text: str) -> None:
    if not text.endswith(("\n", "\r")):
        raise ValueError(f"{path}: no newline at its end, so its last line may be cut. {REMEDY}")


def _read_text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: its letters are not in UTF-8. Save it again as UTF-8.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise type(error)(f"{path}: cannot be read ({reason}). {REMEDY}") from error
    if "\0" in text:
        raise ValueError(f"{path}: it holds zero bytes, so it is damaged. {REMEDY}")
    return text


def validate(kind: type, values: dict[str, Any], place: str) -> Any:
    """Return `kind(**values)`.

    Parameters
    ----------
    kind : a pydantic class.
    place : where the values are from, for messages: "data/setups.csv, TI-BL".

    Raises
    ------
    ValueError : names each field that is missing, unknown or out of its range, its value and what is allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        faults = "; ".join(_fault(fault, kind) for fault in error.errors())
        raise ValueError(f"{place}: {faults}. {REMEDY}") from error


def _fault(error: dict, kind: type) -> str:
    field = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"no {field}"
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{field} is not understood; expected {', '.join(inspect.signature(kind).parameters)}"
    allowed = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    allowed = allowed.replace("a valid boolean", "true or false (yes or no in a table)")
    return f"{field} = {error['input']!r}; {allowed}"
