"""The house: each room of the package imports only from the rooms before it."""

import ast
import importlib
from pathlib import Path

import tmp_utils

PACKAGE = Path(tmp_utils.__file__).parent
SEES = {
    "files": set(),
    "inputs": {"files"},
    "metrics": {"files", "inputs"},
    "model": {"files", "inputs"},
    "figures": {"files", "inputs", "metrics"},
    "personalize": {"files", "inputs", "model"},
    "pocket": {"files", "inputs", "metrics", "model"},
}
SEES["runs"] = {"files", "inputs", "metrics", "model", "figures", "personalize"}
SEES["findings"] = SEES["survey"] = SEES["runs"] | {"runs"}
SEES["commands"] = SEES["findings"] | {"findings", "survey"}


def rooms_imported(path: Path) -> set[str]:
    """The rooms that a module imports from, wherever in it the import stands."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{node.names[0].name}" for node in nodes if (node.module or "").startswith("tmp_utils")]
    return {name.split(".")[1] for name in names} - {"__version__"}


def test_each_room_imports_only_from_rooms_before_it():
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem == "files"]
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules} == SEES.keys()
    for path in modules:
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert rooms_imported(path) <= SEES[room] | {room}, path.relative_to(PACKAGE)


def test_the_package_and_each_room_say_what_is_in_them():
    for room in SEES.keys() - {"files"}:
        assert f"    {room}" in tmp_utils.__doc__
        described = importlib.import_module(f"tmp_utils.{room}").__doc__
        for path in (PACKAGE / room).iterdir():
            if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists()):
                assert path.stem in described, f"{room}/{path.name} is missing from the room's docstring"
