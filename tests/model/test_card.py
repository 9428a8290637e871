"""The README.md beside an adapter: what it is, on what terms, and how it is used."""

from dataclasses import replace

import pytest

from tmp_utils.inputs.concepts import catalogue, load_concept
from tmp_utils.inputs.credits import credits_of
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.model.card import licence_of, write_card
from tmp_utils.model.export import export_lora, export_textual_inversion
from tmp_utils.model.pipelines import pipeline_hash


def python_of(card: str) -> str:
    code = card.partition("```python")[2].partition("```")[0]
    compile(code, "card", "exec")
    return code


def test_a_saved_adapter_has_a_card_and_a_copy_of_a_clip(adapters, concept, tmp_path):
    adapter = adapters["TI-BL"]
    folder = adapter.save(tmp_path / "kept", clip=concept.clips[0])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "clip.wav").read_bytes() == concept.clips[0].read_bytes() and "(clip.wav)" in card
    for row in ("| word | `<tones>` |", "| class noun | guitar |", "| setup | TI-BL, seed 0, 2 steps |"):
        assert row in card
    assert f"`{adapter.backbone_hash}`" in card and "| base | audioldm |" in card
    assert str(tmp_path.parent) not in card, "no path of the machine"
    assert "load_adapter(" in python_of(card) and "a recording of a <tones>" in card
    again = adapter.save(tmp_path / "again", clip=concept.clips[0])
    assert (again / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    assert "clip" not in (adapter.save(tmp_path / "mute") / "README.md").read_text(encoding="utf-8").partition("##")[0]


def test_the_licence_follows_from_the_base(adapters, tmp_path):
    adapter = adapters["DB-BL"]
    pocket = replace(adapter, backbone_id="pocket", backbone_hash=pipeline_hash(DATA_DIR / "pocket"))
    full = replace(adapter, backbone_id="cvssp/audioldm-m-full@main", backbone_hash="0" * 64)
    impostor = replace(adapter, backbone_id="pocket", backbone_hash="1" * 64)
    assert [licence_of(each)[0] for each in (pocket, full, adapter)] == ["mit", "cc-by-nc-sa-4.0", "other"]
    assert licence_of(impostor)[0] == "other", "a folder called pocket is not the pocket model"
    card = write_card(full, tmp_path).read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc-by-nc-sa-4.0\nbase_model: cvssp/audioldm-m-full\n")
    assert "not for commercial use" in card and 'load_backbone("cvssp/audioldm-m-full@main")' in python_of(card)


def test_the_licence_follows_from_the_recordings_too(adapters):
    pocket = replace(adapters["DB-BL"], backbone_id="pocket", backbone_hash=pipeline_hash(DATA_DIR / "pocket"))
    rare_words = catalogue().set_index("name")["rare_word"]

    def of(concept, rare_word="", base=pocket, **changes):
        return licence_of(replace(base, concept=concept, rare_word=rare_word or rare_words[concept], **changes))

    assert of("war_drums") == ("cc-by-sa-3.0", "CC BY-SA 3.0, as what it learned from; the base is MIT")
    assert of("irish_fiddle")[0] == "cc-by-3.0"
    assert {of(name) for name in ("koto", "chaos_guitar", "electronic_beat", "tenor")} == {("mit", "MIT, as the base")}
    assert of("war_drums", "sks")[0] == "mit", "a folder of the user's of that name"
    assert of("war_drums", "sks", setup="MIX")[0] == of("tenor", setup="MIX")[0] == "cc-by-sa-3.0", "its backgrounds"
    assert of("koto", setup="MIX")[0] == "mit", "rendered backgrounds"
    assert of("drums_fiddle-violin", rare_words["irish_fiddle"], method="TI", setup="PRIOR")[0] == "cc-by-sa-3.0"
    full = replace(pocket, backbone_id="cvssp/audioldm-m-full", backbone_hash="0" * 64)
    assert of("irish_fiddle", base=full) == of("koto", base=full) == licence_of(full)
    assert of("war_drums", base=full)[0] == "other" and "NC-SA 4.0" in of("war_drums", base=full)[1]


def test_a_card_credits_the_recordings_that_were_learned_from(adapters, tmp_path):
    rare_words = catalogue().set_index("name")["rare_word"]

    def card(concept, rare_word):
        adapter = replace(adapters["TI-BL"], concept=concept, rare_word=rare_word)
        (folder := tmp_path / concept).mkdir(exist_ok=True)
        return write_card(adapter, folder).read_text(encoding="utf-8")

    (tenor,) = credits_of(load_concept("tenor"))
    address = tenor.line.split()[9]
    assert address.startswith("https") and address.endswith("(Serse).ogg")
    assert f"\n- {tenor.line.replace(address, f'<{address}>')}\n" in card("tenor", rare_words["tenor"])
    drums = card("war_drums", rare_words["war_drums"])
    assert "<http://creativecommons.org/licenses/by-sa/3.0/>); cut and resampled." in drums
    song = card("feelings-band", load_concept(DATA_DIR / "stems" / "feelings_backing").rare_word)
    assert '- "Feelings", guitar track, Copyright' in song and '- "Feelings", backing track, Copyright' in song
    for concept, rare_word in (("koto", rare_words["koto"]), ("tones", "zyx"), ("feelings-guitar", "sks")):
        assert "have licences of their own.\n" in card(concept, rare_word) and "It learned" not in card(
            concept, rare_word
        )


def test_text_of_a_reader_does_not_break_the_card(adapters, tmp_path):
    odd = replace(adapters["DB-BL"], class_noun="drum | beat\n# x")
    assert "| class noun | drum \\| beat # x |" in write_card(odd, tmp_path).read_text(encoding="utf-8")


def test_exports_have_a_card_for_diffusers_and_overwrite_no_other_readme(adapters, concept, tmp_path):
    word, low_rank = adapters["TI-BL"], adapters["DB-LoRA-BL"]
    export_textual_inversion(word, tmp_path / "word" / "x.safetensors", clip=concept.clips[1])
    card = (tmp_path / "word" / "README.md").read_text(encoding="utf-8")
    assert 'load_textual_inversion("x.safetensors")' in python_of(card) and (tmp_path / "word" / "clip.wav").is_file()
    export_textual_inversion(word, tmp_path / "word" / "x.safetensors")
    with pytest.raises(FileExistsError, match=r"is not the card of tones DB-LoRA-BL, seed 0.*its own folder"):
        export_lora(low_rank, tmp_path / "word" / "lora.safetensors")
    assert sorted(path.name for path in (tmp_path / "word").iterdir()) == ["README.md", "clip.wav", "x.safetensors"]
    export_lora(low_rank, tmp_path / "lora" / "x.safetensors")
    assert "load_lora_adapter" in python_of((tmp_path / "lora" / "README.md").read_text(encoding="utf-8"))
