"""Tables and TOML files that people edit: right, or refused with file, field and value."""

import shutil

import pytest

from tmp_utils.inputs import concepts, profiles, prompts
from tmp_utils.inputs.tables import read_rows, read_toml

TABLE = "name,note\nsitar,one\noud,two\n"
TABLES = ("concepts.csv", "prompts.csv", "profiles.toml", "setups.csv")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the tables under data/, to be damaged."""
    for name in TABLES:
        shutil.copy(profiles.DATA_DIR / name, tmp_path / name)
    for module in (concepts, profiles, prompts):
        monkeypatch.setattr(module, "DATA_DIR", tmp_path)
    return tmp_path


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def read_everything():
    loaded = [profiles.load_profile(name) for name in read_toml(profiles.DATA_DIR / "profiles.toml")]
    return concepts.catalogue().to_dict("records"), loaded, profiles.list_setups(), prompts.editability_prompts()


@pytest.mark.parametrize("text", [TABLE, "\ufeff" + TABLE, TABLE.replace("\n", "\r\n"), TABLE.replace("\n", "\r")])
def test_a_table_is_read_with_any_line_ends_and_mark(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert read_rows(tmp_path / "t.csv", "name") == [{"name": "sitar", "note": "one"}, {"name": "oud", "note": "two"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column name"),
        (b"title,note\nsitar,one\n", "no column name; it has title, note"),
        (TABLE[:-1].encode(), "no newline at its end"),
        (TABLE[:-4].encode(), "no newline at its end|more or fewer fields"),
        (b"name,note\nsitar\n", "row 2: more or fewer fields than the 2 columns"),
        (b"name,note\nsitar,one,two\n", "row 2: more or fewer fields than the 2 columns"),
        (b'name,note\nsitar,"one\n', "not a whole table"),
        (TABLE.replace("oud", "sitar").encode(), "row 3: sitar appears twice"),
        (TABLE.replace("one", "né").encode("latin-1"), "not in UTF-8"),
        (TABLE.encode("utf-16"), "not in UTF-8"),
        (TABLE.replace("one", "\0\0\0").encode(), "holds zero bytes"),
    ],
)
def test_a_damaged_table_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"t\.csv.*({message})"):
        read_rows(tmp_path / "t.csv", "name")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"t\.csv: cannot be read \(No such file or directory\)"):
        read_rows(tmp_path / "t.csv", "name")


def test_toml_that_is_cut_or_of_another_encoding_is_refused(tmp_path):
    path = tmp_path / "t.toml"
    path.write_bytes("\ufeffsteps = 50".encode())
    assert read_toml(path) == {"steps": 50}
    with pytest.raises(ValueError, match="no newline at its end"):
        read_toml(path, ends_in_newline=True)
    path.write_bytes("steps = 50".encode("utf-16"))
    with pytest.raises(ValueError, match="not in UTF-8"):
        read_toml(path)


def test_a_copy_of_the_tables_reads_as_the_tables_do(data):
    copied = read_everything()
    for name in TABLES:
        (data / name).write_bytes(b"\xef\xbb\xbf" + (data / name).read_bytes().replace(b"\n", b"\r\n"))
    assert read_everything() == copied


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "inference_steps = 10",
            "inference_steps = 0",
            r"\[pocket\]: inference_steps = 0; .* greater than or equal to 1",
        ),
        ("inference_steps = 10", 'inference_steps = "x"', r"inference_steps = 'x'; expected a valid integer"),
        ("guidance_scale = 2.5", "guidance_scale = nan", r"guidance_scale = nan; expected a finite number"),
        ("guidance_scale = 2.5", "guidance_scale = -1", r"guidance_scale = -1; .* greater than or equal to 0"),
        ("lr = 2e-2, steps = 100", "lr = -1, steps = 100", r"\[pocket\.methods\] TI: lr = -1; expected greater than 0"),
        ("lr = 2e-2, steps = 100", "lr = 2e-2", r"TI: no steps"),
        ("n_vectors = 1", "checkpoint_every = 0", r"TI: checkpoint_every = 0; .* greater than or equal to 1"),
        ("n_vectors = 1", "vectors = 1", r"TI: vectors is not understood; expected .*n_vectors"),
        ("TI      = { lr", "TI = 3\nX = { lr", r"pocket is not a profile; expected a table \[pocket\]"),
        ('inherits = "pocket"', 'inherits = "smoke"', r'"smoke" inherits "smoke", which is not another profile'),
    ],
)
def test_a_profile_with_an_impossible_value_is_refused(data, old, new, message):
    edit(data / "profiles.toml", old, new)
    with pytest.raises(ValueError, match=rf"profiles\.toml.*{message}"):
        read_everything()


def test_profiles_that_inherit_each_other_are_refused(data):
    edit(data / "profiles.toml", 'backbone = "pocket"', 'inherits = "paper"\nbackbone = "pocket"')
    with pytest.raises(ValueError, match='"paper" inherits "pocket", which is not another profile'):
        profiles.load_profile("pocket")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("TI,BL,5,", "TI,BL,0,", "TI-BL: n_clips = '0'; .* greater than or equal to 1"),
        ("TI,BL,5,", "TI,BL,five,", "TI-BL: n_clips = 'five'; expected a valid integer"),
        ("TI,BL,5,,vocabulary", "TI,BL,5,nan,vocabulary", "TI-BL: mix_snr_db = 'nan'; expected a finite number"),
        ("TI,BL,5,,vocabulary", "TI,BL,5,,zeros", "TI-BL: init = 'zeros'; expected 'vocabulary' or 'class_noun'"),
        (
            "TI,BL,5,,vocabulary,no",
            "TI,BL,5,,vocabulary,maybe",
            "TI-BL: text_encoder = 'maybe'; expected true or false",
        ),
        ("TI,BL,", "TI,../BL,", r"setup = '\.\./BL'; expected letters, digits"),
        ("TI,1-AC,", "TI,BL,", "row 3: TI, BL appears twice"),
        ("prior_weight", "prior", "no prior_weight; prior is not understood"),
    ],
)
def test_a_setup_with_an_impossible_value_is_refused(data, old, new, message):
    edit(data / "setups.csv", old, new)
    with pytest.raises(ValueError, match=rf"setups\.csv.*{message}"):
        read_everything()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("breakbeat,drum beat", "breakbeat,", "breakbeat: class_noun = ''; expected words on one line"),
        ("breakbeat,drum beat", "../x,drum beat", r"\.\./x: name = '\.\./x'; .* match pattern"),
        ("stand-in,yes,no", "stand-in,,no", "breakbeat: shipped = ''; expected true or false"),
        ("stand-in,yes,no", "found,yes,no", "breakbeat: origin = 'found'; expected 'stand-in', 'recording' or 'paper'"),
        (",harmonic,", ",tonal,", "no harmonic; tonal is not understood"),
    ],
)
def test_a_concept_with_an_impossible_value_is_refused(data, old, new, message):
    edit(data / "concepts.csv", old, new)
    with pytest.raises(ValueError, match=rf"concepts\.csv.*{message}"):
        read_everything()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a recording of a {}\n", "a recording\n", "train-01: template = .* has 0 places for a concept"),
        (
            "genre-jazz,editability",
            "genre-jazz,edit",
            "genre-jazz: kind = 'edit'; expected 'training', 'reconstruction'",
        ),
        ("genre-jazz,", "genre/jazz,", "id = 'genre/jazz'; expected letters, digits"),
        ("train-02,", "train-01,", "row 3: train-01 appears twice"),
    ],
)
def test_a_prompt_with_an_impossible_value_is_refused(data, old, new, message):
    edit(data / "prompts.csv", old, new)
    with pytest.raises(ValueError, match=rf"prompts\.csv.*{message}"):
        read_everything()


def test_a_table_without_a_kind_of_prompt_is_refused(data):
    (data / "prompts.csv").write_text("id,kind,family,template\na,training,neutral,a {}\n")
    with pytest.raises(ValueError, match=r"prompts\.csv: no reconstruction prompt"):
        prompts.reconstruction_prompt()
