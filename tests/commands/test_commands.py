"""The front door: every command ends in one way, and takes what it shares with others by one name."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tmp_utils import commands
from tmp_utils.commands import Unfinished, parser_of, run


class Command:
    """A command that takes what `simulate` takes: no shared option."""

    def __init__(self, error=None):
        self.error = error

    def add_options(self, parser):
        parser.add_argument("--folder")

    def main(self, options):
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, ""),
        (Unfinished("cell 3 raised"), 1, "simulate: cell 3 raised\n"),
        (ValueError("7 is not allowed"), 2, "simulate: 7 is not allowed\n"),
        (OSError("disk full"), 2, "simulate: disk full\n"),
        (ImportError("no kaleido"), 2, "simulate: no kaleido\n"),
        (
            KeyboardInterrupt(),
            130,
            "\nsimulate: interrupted. Finished work is kept; run again to continue.\n",
        ),
    ],
)
def test_every_command_ends_in_one_way(monkeypatch, capsys, error, code, line):
    monkeypatch.setattr(commands.importlib, "import_module", lambda name: Command(error))
    assert run(["simulate"]) == code
    assert capsys.readouterr().err == line


def test_a_fault_of_the_code_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(commands.importlib, "import_module", lambda name: Command(KeyError("x")))
    with pytest.raises(KeyError):
        run(["simulate"])


def test_an_unknown_command_is_refused_with_the_names_of_all(capsys):
    assert run(["sudy"]) == 2
    assert 'There is no command "sudy"; expected one of study, quickstart, grid' in capsys.readouterr().err
    assert run([]) == 0 and "  study " in capsys.readouterr().out


def test_seeds_are_a_list_and_how_many_is_another_word(capsys):
    parser = parser_of("study", Command())
    assert parser.parse_args(["--seeds", "2"]).seeds == [2]
    assert parser.parse_args(["--seeds", "0", "4"]).seeds == [0, 4]
    assert parser.parse_args(["--n-seeds", "2"]).seeds == [0, 1]
    assert parser.parse_args([]).seeds == []
    for wrong, why in ((["--seeds", "-1"], ""), (["--seeds", "1.5"], "not a seed"), (["--n-seeds", "0"], "1 or more")):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(wrong)
        assert why in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--seeds", "1", "--n-seeds", "1"])


def test_what_commands_share_is_spelled_and_explained_alike():
    for name in commands.COMMANDS:
        parser = parser_of(name, commands.module_of(name))
        assert all(action.help for action in parser._actions), name


def test_the_shell_gets_the_exit_code():
    answer = subprocess.run([sys.executable, "-m", "tmp_utils", "sudy"], capture_output=True, text=True)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "module", "work", "table"),
    [
        ("samplers", "commands.samplers", "measure_samplers", "data/published/samplers-pocket.csv"),
        ("search", "commands.search", "search", "data/published/search-pocket.csv"),
        ("mixtures --publish", "commands.mixtures", "run_mixtures", "data/published/mixtures.csv"),
        ("bench --runs-dir folder", "files", "commands.bench.compare.compare", "folder/bench-pocket.json"),
        ("bench --once --backbone x", "commands.bench.once", "load_backbone", "data/published/once.csv"),
        ("bench --gpu --device cpu", "commands.bench.evening", "blank_backbone", "runs/gpu.csv"),
        ("results --publish folder/table.csv", "findings.results", "collect_results", "folder/table.csv"),
        ("survey --export folder/table.csv", "commands.survey", "_folder", "folder/table.csv"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_before_the_work(monkeypatch, capsys, arguments, module, work, table):
    def refuse(path):
        raise OSError(f"cannot write {path}")

    def loaded(*_):
        return SimpleNamespace(profile=SimpleNamespace(name="pocket"))

    worked, work = [], work if "." in work else f"{module}.{work}"
    monkeypatch.setattr(f"tmp_utils.{module}.check_writable", refuse)
    monkeypatch.setattr(f"tmp_utils.{work}", lambda *_, **__: worked.append(work))
    monkeypatch.setattr("tmp_utils.runs.lab.Lab.load", loaded)
    assert run(arguments.split()) == 2 and not worked
    name = arguments.split()[0]
    error = capsys.readouterr().err
    assert error.startswith(f"{name}: cannot write ") and error.endswith(f"{table}\n")
