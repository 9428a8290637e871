"""Profiles and setups."""

import pytest

from tmp_utils.inputs import profiles
from tmp_utils.inputs.profiles import DATA_DIR, Hyperparameters, list_setups, load_profile, load_setup
from tmp_utils.inputs.tables import read_toml


def test_the_paper_profile_holds_the_papers_numbers():
    paper = load_profile("paper")
    assert paper.backbone == "cvssp/audioldm-m-full"
    assert (paper.method("TI")["lr"], paper.method("TI")["steps"], paper.method("TI")["batch_size"]) == (2e-2, 150, 4)
    assert (paper.method("DB")["lr"], paper.method("DB")["steps"], paper.method("DB")["batch_size"]) == (4e-6, 1500, 4)
    assert (paper.inference_steps, paper.clips_per_prompt, paper.n_editability_prompts) == (50, 4, 20)


def test_smoke_is_pocket_with_less_of_everything():
    pocket, smoke = load_profile("pocket"), load_profile("smoke")
    assert smoke.backbone == pocket.backbone == "pocket"
    assert smoke.method("TI") == {**pocket.method("TI"), "steps": 3}
    assert smoke.inference_steps < pocket.inference_steps


def test_every_profile_has_every_method_that_has_a_setup():
    methods = {setup.method for setup in list_setups()}
    for name in read_toml(DATA_DIR / "profiles.toml"):
        assert methods == set(load_profile(name).methods)


def test_a_rate_of_prior_preservation_is_only_inherited_together_with_the_rate_beside_it(tmp_path, monkeypatch):
    own = tmp_path / "mine.toml"
    own.write_text(
        "[slow]\ninherits = 'pocket'\n[slow.methods]\nDB = { lr = 1e-6 }\n"
        "[both]\ninherits = 'pocket'\n[both.methods]\nDB = { lr = 1e-6, prior_lr = 3e-6 }\n"
    )
    monkeypatch.setenv("TMP_PROFILES", str(own))
    rates = {name: load_profile(name).method("DB").get("prior_lr") for name in ("smoke", "paper", "slow", "both")}
    of_pocket = load_profile("pocket").method("DB")["prior_lr"]
    assert rates == {"smoke": of_pocket, "paper": None, "slow": None, "both": 3e-6}


def test_changing_a_loaded_profile_does_not_change_the_next():
    load_profile("pocket").methods["TI"]["lr"] = 7
    assert load_profile("pocket").method("TI")["lr"] == 2e-2


def test_a_file_of_ones_own_is_laid_over_the_profiles(tmp_path, monkeypatch):
    own = tmp_path / "mine.toml"
    own.write_text(
        "[paper]\nbackbone = '/models/mine'\n[paper.methods]\nTI = { steps = 7 }\n[big]\ninherits = 'paper'\n"
    )
    shipped = load_profile("paper")
    monkeypatch.setenv("TMP_PROFILES", str(own))
    mine = load_profile("paper")
    assert mine.backbone == "/models/mine" and mine.inference_steps == shipped.inference_steps
    assert mine.method("TI") == {**shipped.method("TI"), "steps": 7} and mine.method("DB") == shipped.method("DB")
    assert load_profile("big").method("TI")["steps"] == 7
    own.write_text("not toml")
    with pytest.raises(ValueError, match=r"TMP_PROFILES=.*mine\.toml"):
        load_profile("paper")


def test_an_unknown_profile_is_answered_with_the_valid_names():
    with pytest.raises(ValueError, match=r'unknown profile "big"; .* pocket, smoke, paper'):
        load_profile("big")


def test_an_unknown_method_of_a_profile_is_answered_with_its_methods():
    with pytest.raises(ValueError, match='no method "XX"; it has TI, DB'):
        load_profile("pocket").method("XX")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("steps", "x", "a valid integer"),
        ("steps", 2.5, "a valid integer"),
        ("batch_size", True, "a valid integer"),
        ("lr", 0.0, "greater than 0"),
        ("lr", float("nan"), "a finite number"),
        ("max_grad_norm", float("inf"), "a finite number"),
        ("weight_decay", -0.1, "greater than or equal to 0"),
        ("ti_steps", None, "a valid integer"),
        ("compile", "yes", "true or false"),
        ("precision", "fp8", "'auto', 'fp32', 'bf16' or 'fp16'"),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused(name, value, allowed):
    with pytest.raises(ValueError) as error:
        Hyperparameters.of({"lr": 1e-3, "steps": 3, name: value}, "TI")
    assert str(error.value).startswith(f"TI: {name} = {value!r}; expected {allowed}")


def test_a_misspelt_key_is_named(tmp_path, monkeypatch):
    text = (profiles.DATA_DIR / "profiles.toml").read_text().replace("clip_s =", "clip_seconds =")
    (tmp_path / "profiles.toml").write_text(text)
    monkeypatch.setattr(profiles, "DATA_DIR", tmp_path)
    with pytest.raises(
        ValueError, match=r"profiles\.toml, \[pocket\]: no clip_s; clip_seconds is not understood; expected .*clip_s"
    ):
        load_profile("pocket")


def test_the_papers_ten_setups_are_there():
    ten = {("TI", s) for s in ("BL", "1-AC", "3-AC", "MW", "MIX")} | {
        ("DB", s) for s in ("BL", "1-AC", "3-AC", "TE", "MIX")
    }
    assert ten == {(s.method, s.setup) for s in list_setups() if s.note.startswith("paper")}


def test_a_setup_says_what_varies():
    assert load_setup("TI", "MIX").mix_snr_db == 20
    assert load_setup("TI", "BL").init == "vocabulary"
    assert load_setup("TI", "MW").init == "class_noun"
    assert load_setup("DB", "TE").text_encoder is True
    assert load_setup("DB", "BL").text_encoder is False
    assert load_setup("DB", "BL-PP").prior_weight == 1
    assert [load_setup("DB", s).n_clips for s in ("BL", "3-AC", "1-AC")] == [5, 3, 1]
    assert load_setup("DB-LoRA", "BL").name == "DB-LoRA-BL"


def test_an_unknown_setup_or_method_is_answered_with_the_valid_ones():
    with pytest.raises(ValueError, match='unknown setup "TE" of TI; it has BL, 1-AC, 3-AC, MW, MIX'):
        load_setup("TI", "TE")
    with pytest.raises(
        ValueError, match=r'unknown method "XX"; data/setups.csv has TI, DB, DB-LoRA, DB-CD, DB-SV, TI-DB'
    ):
        load_setup("XX", "BL")
