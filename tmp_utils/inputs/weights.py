"""Loading a model's weights whole and unchanged: a library's `from_pretrained`, with its report read.

Conventions: the libraries only log keys that a weights file lacks, and give those parameters random values. Here that
is an error, as are keys that nothing reads, shapes that differ, values that are not finite, and matrices of zeros.

A Hugging Face id may name a commit, `id@revision`. A file from elsewhere must stay the one of its first use,
when its SHA-256 is recorded beside it.

load_whole     : class + folder -> model.
readable       : what a library raises about a damaged file, as one error.
split_revision : `id@revision` -> both.
check_recorded : a file's SHA-256 is what it was.
shortened      : the first names of a long list.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tmp_utils.files import file_sha256, write_text

REMEDY = (
    "The files are damaged or incomplete. Copy the folder afresh from where it came from (git restores data/pocket; a "
    "folder in the Hugging Face cache is downloaded again once it is deleted)."
)
FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
NEVER_USED = "token_type_embeddings.weight"  # RoBERTa has one type of token, and roberta-base zeros for it
HARMLESS = "position_ids"  # a buffer of older transformers versions, computed anew by later ones
SHOWN = 5


def load_whole(kind: type, place: str | Path, part: str, **kwargs):
    """Load a model by `kind.from_pretrained(place)`.

    Parameters
    ----------
    kind : a model class of transformers or diffusers.
    place : its folder, or a Hugging Face id.
    part : what the model is, for messages: "text_encoder".
    kwargs : of `from_pretrained`; with `config` and `state_dict`, the model is made of those, which are from `place`.

    Raises
    ------
    ValueError : weights that are damaged or incomplete; the message names the part and the keys.
    OSError : a Hugging Face id that cannot be reached.
    """
    with readable(place, part):
        source = None if "state_dict" in kwargs else place
        model, report = kind.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs)
    faults = {fault.replace("_", " "): sorted(map(str, report.get(fault) or ())) for fault in FAULTS}
    faults["unexpected keys"] = [key for key in faults["unexpected keys"] if not key.endswith(HARMLESS)]
    if not any(faults.values()):
        faults = _impossible(model)
    lines = [f"{fault}: {shortened(names)}" for fault, names in faults.items() if names]
    if lines:
        raise ValueError(f"{part} ({place}): {'; '.join(lines)}. {REMEDY}")
    return model


@contextmanager
def readable(place: str | Path, part: str) -> Iterator[None]:
    """Turn whatever a library raises about damaged local files into a ValueError that names it and the remedy."""
    try:
        yield
    except Exception as error:  # a dozen kinds, by file and library
        if not Path(place).exists():  # an id of Hugging Face: the caller knows more
            raise
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ValueError(f"{part} ({place}) cannot be loaded: {reason}. {REMEDY}") from error


def split_revision(name: str) -> tuple[str, str | None]:
    """Split a Hugging Face id into the repository and the commit, tag or branch after "@"; or None."""
    repository, _, revision = name.partition("@")
    return repository, revision or None


def check_recorded(path: Path) -> str:
    """Return a file's SHA-256, which is recorded in `<name>.sha256` beside it at its first use.

    Raises
    ------
    ValueError : it is another than at the first use.
    """
    record, digest = path.with_name(f"{path.name}.sha256"), file_sha256(path)
    if not record.exists():
        try:
            write_text(record, f"{digest}  {path.name}\n")
        except OSError as error:
            warnings.warn(f"{record} cannot be written ({error}), so a later change goes unnoticed.", stacklevel=2)
            return digest
    if (first := record.read_text(encoding="utf-8", errors="replace").partition(" ")[0].strip()) != digest:
        raise ValueError(
            f"{path}: its SHA-256 is {digest}, and was {first} when it was first used. If you replaced it on purpose, "
            f"delete {record.name} beside it; else copy the file afresh from where it came from."
        )
    return digest


def _impossible(model) -> dict[str, list[str]]:
    """Names of parameters whose values no training leaves."""
    weights = dict(model.named_parameters())
    matrices = {name: value for name, value in weights.items() if name.endswith(".weight") and value.ndim > 1}
    matrices = {name: value for name, value in matrices.items() if not name.endswith(NEVER_USED)}
    return {
        "not finite": [name for name, value in weights.items() if not value.isfinite().all()],
        "only zeros": [name for name, value in matrices.items() if not value.any()],
    }


def shortened(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
