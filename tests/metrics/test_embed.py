"""One clip has one embedding, whatever is embedded beside it, before it, or again."""

import numpy as np
import pytest

from tmp_utils.inputs.audio import match_loudness, resampled
from tmp_utils.metrics.embed import cut_windows, load_embedder, unit_rows

RATE_HZ = 16000


def test_windows_are_consecutive_and_a_short_rest_is_left_out():
    assert [len(window) for window in cut_windows(np.arange(1024), 1000)] == [1000]
    assert [len(window) for window in cut_windows(np.arange(1600), 1000)] == [1000, 600]
    assert [len(window) for window in cut_windows(np.arange(100), 1000)] == [100]


def test_embeddings_are_unit_rows_one_a_clip_and_one_a_prompt(embedder, clips):
    for rows in (embedder.embed_clips(clips), embedder.embed_prompts(["a sitar", "a recording of a drum"])):
        assert rows.dtype == np.float32
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert embedder.embed_clips(clips).shape == (4, 12)


def test_a_clip_has_the_same_embedding_alone_in_company_and_again(embedder, clips):
    together = embedder.embed_clips(clips)
    assert np.array_equal(together, embedder.embed_clips(clips))
    for i, clip in enumerate(clips):
        assert embedder.embed_clips([clip])[0] == pytest.approx(together[i], abs=1e-5)


def test_no_global_random_number_is_used(embedder, clips):
    np.random.seed(1)  # noqa: NPY002 - transformers draws from the global generator, if it draws
    first = embedder.embed_clips(clips)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, embedder.embed_clips(clips))


def test_a_long_clip_is_the_unit_mean_of_its_windows(embedder, clips):
    mean = embedder.embed_clips([clips[3][:160000], clips[3][160000:]]).mean(0)
    assert embedder.embed_clips([clips[3]])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert embedder.embed_windows(clips).shape == (5, 12)


def test_a_short_clip_is_repeated_until_the_window_is_full_and_not_padded_with_silence(embedder):
    clip = np.random.default_rng(3).normal(0, 0.1, size=6 * RATE_HZ).astype(np.float32)
    rate_hz, window = embedder.rate_hz, embedder.window
    short = resampled(clip, RATE_HZ, rate_hz)
    whole = np.concatenate([short, short])[:window]
    assert window == 10 * rate_hz
    expected = unit_rows(embedder._embed_batch([whole]))
    assert np.allclose(embedder.embed_clips([clip]), expected, atol=1e-6)
    assert not np.allclose(unit_rows(embedder._embed_batch([short])), expected, atol=1e-4)


def test_the_cache_gives_the_same_rows_without_embedding_again(judge, clips, tmp_path, monkeypatch):
    cached = load_embedder(f"clap:{judge}", cache_dir=tmp_path)
    first = cached.embed_clips(clips)
    monkeypatch.setattr(cached, "_embed_batch", lambda windows: pytest.fail("a clip was embedded again"))
    assert np.array_equal(first, cached.embed_clips(clips))
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".npy"] * 4


def test_clips_that_differ_in_one_sample_have_embeddings_of_their_own_in_the_cache(judge, clips, tmp_path):
    cached = load_embedder(f"clap:{judge}", cache_dir=tmp_path)
    cached.embed_clips([clips[0]])
    clips[0][100] += 0.5
    assert cached.embed_clips([clips[0]])[0] == pytest.approx(load_embedder(f"clap:{judge}").embed_clips([clips[0]])[0])


@pytest.mark.parametrize(
    ("clip", "message"),
    [(np.full(100, np.nan), "NaN"), (np.zeros((2, 100)), "one channel"), (np.zeros(0), "one channel")],
)
def test_broken_clips_are_refused_by_their_index(embedder, clips, clip, message):
    with pytest.raises(ValueError, match=f"clip 1 .*{message}"):
        embedder.embed_clips([clips[0], clip])


def test_no_clips_and_a_lone_string_are_refused(embedder):
    with pytest.raises(ValueError, match="no clips"):
        embedder.embed_clips([])
    with pytest.raises(ValueError, match="expected a list"):
        embedder.embed_prompts("a sitar")


@pytest.mark.parametrize("spec", ["clap", "clap:", "mert:large", ""])
def test_an_unknown_embedder_is_refused_with_the_known_ones(spec):
    with pytest.raises(ValueError, match=r"expected .*clap:<folder.*vggish"):
        load_embedder(spec)


def test_level_matched_clips_have_one_embedding_at_any_level_and_prompts_stay_the_same(
    judge, embedder, clips, tmp_path
):
    matched = load_embedder(f"clap:{judge}+level", cache_dir=tmp_path)
    assert matched.name == f"{embedder.name}+level"
    rows = matched.embed_clips(clips)
    assert rows == pytest.approx(matched.embed_clips([0.1 * clip for clip in clips]), abs=1e-5)
    assert rows == pytest.approx(embedder.embed_clips([match_loudness(clip, -20.0) for clip in clips]), abs=1e-6)
    assert not np.allclose(rows, embedder.embed_clips([0.1 * clip for clip in clips]), atol=1e-3)
    assert np.array_equal(matched.embed_prompts(["a sitar"]), embedder.embed_prompts(["a sitar"]))
    assert len(list(tmp_path.rglob("*.npy"))) >= 4  # in the cache of the embedder that it is made of


def test_a_clip_too_short_for_a_level_is_refused_where_levels_are_matched(judge):
    with pytest.raises(ValueError, match=r"no loudness; a clip must last 0.4 s"):
        load_embedder(f"clap:{judge}+level").embed_clips([np.ones(1000)])
