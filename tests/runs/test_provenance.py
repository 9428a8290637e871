"""Which commit made a result, and whether the code was changed."""

import subprocess

import pytest

from tmp_utils.runs import provenance


def test_a_commit_is_marked_where_the_code_was_changed_and_not_for_a_published_table(tmp_path, monkeypatch):
    def git(*arguments):
        names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)

    (tmp_path / "data" / "published").mkdir(parents=True)
    code, table = tmp_path / "code.py", tmp_path / "data" / "published" / "once.csv"
    monkeypatch.setattr(provenance, "PROJECT_DIR", tmp_path)
    ask = provenance.commit.__wrapped__  # it is asked once in a process
    assert ask() is None
    for path in (code, table):
        path.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    number = git("rev-parse", "HEAD").stdout.strip()
    assert ask() == number
    table.write_text("2")
    assert ask() == number
    code.write_text("2")
    assert ask() == number + "+changes"


@pytest.mark.parametrize("part", ["versions", "commit", "machine"])
def test_nothing_names_a_folder_of_this_machine(part):
    assert str(provenance.PROJECT_DIR) not in str(provenance.provenance()[part])
