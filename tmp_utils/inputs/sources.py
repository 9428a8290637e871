"""Who made what is shipped, and under which licence.

Conventions: a folder of recordings (`data/clips/<name>/`, `data/backgrounds/recorded/`, `data/stems/<name>/`) has a
`SOURCE.toml` that says who made them, under which licence, from which package and file, and which seconds each clip is.
The text of the licence lies beside it, as `licence_file`. Weights made by others (`data/musicnn/`) have both, too.

read_source   : a folder of recordings -> its SOURCE.toml, or an error that says what is missing or wrong in it.
read_licensed : the same for a folder of anything, where only the licence's text is looked for.
"""

from pathlib import Path

from tmp_utils.inputs.sounds import SUFFIXES
from tmp_utils.inputs.tables import read_toml

SOURCE_NAME = "SOURCE.toml"
RESTORE = "Restore the folder from the repository."
FIELDS = {
    "title": str,
    "who": str,
    "licence": str,
    "licence_file": str,
    "quote": str,
    "quote_from": str,
    "credit": str,
    "changes": str,
    "registry": str,
    "package": str,
    "version": str,
    "gain_db": float,
    "sources": dict,
    "clips": list,
}


def read_licensed(folder: Path) -> dict:
    """Read a folder's SOURCE.toml.

    Raises
    ------
    FileNotFoundError : there is none, or the licence file that it names is not beside it.
    ValueError : it is not TOML, or names no licence file.
    """
    path = folder / SOURCE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no {SOURCE_NAME}, so its makers and licence are unknown. {RESTORE}")
    source = read_toml(path)
    name = source.get("licence_file")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path}: licence_file = {name!r}; expected the name of the licence's text. {RESTORE}")
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder}: its licence file {name} is missing. {RESTORE}")
    return source


def read_source(folder: Path) -> dict:
    """Read the SOURCE.toml of a folder of recordings. A clip that is listed may be missing, since it can be cut again.

    Raises
    ------
    FileNotFoundError : there is none, or its licence file is missing.
    ValueError : a field is missing or of another type, a clip's source is not listed, or a sound file is not.
    """
    path, source = folder / SOURCE_NAME, read_licensed(folder)
    for field, kind in FIELDS.items():
        if not isinstance(source.get(field), kind) or source[field] in ("", {}, []):
            raise ValueError(f"{path}: {field} = {source.get(field)!r}; expected a {kind.__name__} that is not empty.")
    for clip in source["clips"]:
        if lacking := sorted({"file", "sources", "start_s"} - set(clip)):
            raise ValueError(f"{path}: a clip without {lacking[0]}: {clip}. Each needs file, sources and start_s.")
        if unknown := sorted(set(clip["sources"]) - set(source["sources"])):
            raise ValueError(f"{path}: {clip['file']} is cut from {unknown[0]!r}, which is not under [sources].")
    files = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    sounds = {file.name for file in files if file.suffix.lower() in SUFFIXES}
    if unlisted := sorted(sounds - {clip["file"] for clip in source["clips"]}):
        raise ValueError(
            f"{folder / unlisted[0]}: not listed under [[clips]] in {SOURCE_NAME}, so its source and licence are "
            "unknown. List it there, or move it out; your own recordings are a concept in a folder of their own."
        )
    return source
