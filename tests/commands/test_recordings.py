"""The shipped recordings: credits, licences, sound, and cutting them again from their packages."""

import hashlib
import io
import os
import re
import shutil
import struct
import tarfile
import zlib
from argparse import Namespace
from itertools import pairwise, permutations, product

import numpy as np
import pytest

from tmp_utils.commands import Unfinished, recordings
from tmp_utils.commands.packages import fetch_package, read_rcc, unpack
from tmp_utils.commands.recordings import source_folders
from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, load_clip, loudness_lufs, save_clip
from tmp_utils.inputs.concepts import backgrounds, catalogue, load_concept
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.sources import read_source

FOLDERS = source_folders()
CONCEPTS = [folder for folder in FOLDERS if folder.parent.name == "clips"]
NOISE = np.random.default_rng(0).normal(0, 0.1, 20 * RATE_HZ).astype("float32")
SOURCE = """
title = "Noise"
who = "A test"
licence = "CC0 1.0"
licence_file = "CC0-1.0.txt"
quote = "CC0"
quote_from = "README"
credit = "Noise by a test"
changes = "Cut."
registry = "npm"
package = "noise"
version = "1.0"
gain_db = -6.0

[sources.noise]
path = "package/noise.wav"
sha256 = "{sha256}"

[[clips]]
file = "noise_1.ogg"
sources = ["noise"]
start_s = 2.0
"""


def rcc_of(files, compressed=()):
    """A Qt resource archive, version 3, with files in one folder "music"."""
    names, bodies, offsets = b"", b"", {}
    for name in ("music", *files):
        offsets[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    nodes = [struct.pack(">IHIIQ", 0, 2, 1, 1, 0), struct.pack(">IHIIQ", offsets["music"], 2, len(files), 2, 0)]
    for name, body in files.items():
        stored = struct.pack(">I", len(body)) + zlib.compress(body) if name in compressed else body
        nodes.append(struct.pack(">IHHHIQ", offsets[name], name in compressed, 0, 0, len(bodies), 0))
        bodies += struct.pack(">I", len(stored)) + stored
    tree = b"".join(nodes)
    return struct.pack(">4s5I", b"qres", 3, 24, 24 + len(tree), 24 + len(tree) + len(bodies), 0) + tree + bodies + names


def tar_of(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return packed.getvalue()


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A data folder with one recording, and a folder with the package that it is cut from."""
    folder, packages = tmp_path / "data" / "clips" / "noise", tmp_path / "packages"
    folder.mkdir(parents=True)
    packages.mkdir()
    wav = save_clip(tmp_path / "noise.wav", NOISE).read_bytes()
    (packages / "noise-1.0.tgz").write_bytes(tar_of({"package/noise.wav": wav}))
    (folder / "SOURCE.toml").write_text(SOURCE.format(sha256=hashlib.sha256(wav).hexdigest()))
    (folder / "CC0-1.0.txt").write_text("CC0")
    monkeypatch.setattr(recordings, "source_folders", lambda data_dir: [folder])
    return folder, Namespace(packages=packages, only=[], folder=tmp_path / "data", replace=False, check=False)


def test_every_group_of_the_paper_has_real_recordings():
    table = catalogue().query("origin == 'recording'")
    assert len(table) >= 12 and table["shipped"].all()
    assert (
        table["group"].value_counts().reindex(["percussion and beats", "solo melodic", "multi-instrument"]).min() >= 3
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_recording_names_its_makers_and_has_its_licence_beside_it(folder):
    source = read_source(folder)
    licence = (folder / source["licence_file"]).read_text()
    opening = {
        "CC BY-SA 3.0": "ShareAlike 3.0 Unported",
        "CC BY 3.0": "Attribution 3.0 Unported",
        "MIT": "Permission is",
    }
    opening |= {"CC0 1.0": "CC0 1.0 Universal", "public domain": "License: Public Domain"}
    assert opening[source["licence"]] in licence
    assert all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in source["sources"].values())
    assert sorted(clip["file"] for clip in source["clips"]) == sorted(path.name for path in folder.glob("*.ogg"))


def copied(tmp_path):
    """The recordings, MusiCNN's source and LICENSE in a folder of their own; returns its `data`. Files are links."""
    for folder in (*FOLDERS, DATA_DIR / "musicnn"):
        place = tmp_path / folder.relative_to(DATA_DIR.parent)
        shutil.copytree(folder, place, copy_function=os.symlink)
    shutil.copy(DATA_DIR.parent / "LICENSE", tmp_path)
    return tmp_path / "data"


def test_what_others_made_has_its_source_its_licence_and_its_credit():
    recordings.check_licences()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("LICENSE", "LICENSE: missing, so nobody is credited"),
        ("data/musicnn/SOURCE.toml", "musicnn: no SOURCE.toml"),
        ("data/musicnn/LICENSE.md", "musicnn: its licence file LICENSE.md is missing"),
        ("data/clips/tenor/SOURCE.toml", "tenor: no SOURCE.toml"),
        ("data/clips/tenor/PUBLIC-DOMAIN.txt", "tenor: its licence file PUBLIC-DOMAIN.txt is missing"),
        ("data/clips/tenor/tenor_3.ogg", "tenor_3.ogg: missing. .* --only tenor"),
        ("data/backgrounds/recorded/SOURCE.toml", "recorded: no SOURCE.toml"),
        ("data/stems/freedom_backing/SOURCE.toml", "freedom_backing: no SOURCE.toml"),
        ("data/stems/freedom_backing/MIT.txt", "freedom_backing: its licence file MIT.txt is missing"),
    ],
)
def test_each_file_that_a_licence_needs_is_missed(tmp_path, file, message):
    data_dir = copied(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        recordings.check_licences(data_dir)


def test_a_credit_that_the_licence_of_the_project_lacks_is_named(tmp_path):
    data_dir = copied(tmp_path)
    (tmp_path / "LICENSE").write_text((tmp_path / "LICENSE").read_text().replace('"Taiko 2"', '"Taiko 3"'))
    with pytest.raises(ValueError, match=r"it lacks 'data/clips/war_drums/: \"Taiko 2\" by Wildfire Games"):
        recordings.main(Namespace(check=True, folder=data_dir))


@pytest.mark.parametrize("folder", CONCEPTS, ids=lambda folder: folder.name)
def test_a_recording_has_five_clips_that_are_neither_clipped_nor_faint(folder):
    concept = load_concept(folder.name)
    clips = [load_clip(path) for path in concept.clips]
    assert not concept.stand_in
    assert [len(clip) for clip in clips] == [round(CLIP_S * RATE_HZ)] * 5
    assert all(np.abs(clip).max() < 0.99 for clip in clips)
    assert all(-26 < loudness_lufs(clip) < -16 for clip in clips)


@pytest.mark.parametrize("folder", CONCEPTS, ids=lambda folder: folder.name)
def test_no_two_clips_are_the_same_passage_unless_the_source_says_so(folder):
    source = read_source(folder)
    spans = {}
    for clip in source["clips"]:
        length_s = clip.get("repeated_s", CLIP_S)
        spans.setdefault(clip["sources"][0], []).append((clip["start_s"], clip["start_s"] + length_s))
    neighbours = [pair for of_file in spans.values() for pair in pairwise(sorted(of_file))]
    shared_s = max((end - start for (_, end), (start, _) in neighbours), default=0)
    assert shared_s <= 1e-6 or f"share {shared_s:.2f} s" in source["changes"]
    assert 0 < source["likeness"] < 0.95  # mean cosine between clips, by the pocket profile's judge


def seconds_of(source):
    """The seconds of each file that clips are cut from: (sha256, start, end)."""
    for clip in source["clips"]:
        for name in clip["sources"]:
            end_s = clip["start_s"] + clip.get("repeated_s", CLIP_S)
            yield source["sources"][name]["sha256"], clip["start_s"], end_s


def test_seconds_that_two_concepts_share_are_named_by_both():
    sources = {folder.name: read_source(folder) for folder in FOLDERS}
    notes, sharing = catalogue().set_index("name")["note"], []
    for pair in permutations(sources, 2):
        spans = product(*(seconds_of(sources[name]) for name in pair))
        shared_s = sorted(min(a[2], b[2]) - max(a[1], b[1]) for a, b in spans if a[0] == b[0])
        if words := " and ".join(f"{seconds:.2f}" for seconds in shared_s if seconds > 1e-6):
            sharing.append(pair)
            changes = sources[pair[0]]["changes"]
            assert f"share {words} s with" in changes and pair[1] in changes
            assert f"share {words} s with {pair[1]}" in notes[pair[0]]
    assert sharing == [("metal_guitar", "metal_band"), ("metal_band", "metal_guitar")]


def test_the_recordings_stay_small():
    sizes = {folder: sum(path.stat().st_size for path in folder.glob("*.ogg")) for folder in FOLDERS}
    stems = sum(size for folder, size in sizes.items() if folder.parent.name == "stems")
    assert sum(sizes.values()) - stems < 5.0e6 and stems < 1.0e6


def test_recorded_backgrounds_sound_and_are_others_than_the_rendered():
    recorded, rendered = backgrounds(recorded=True), backgrounds()
    assert len(recorded) == 8
    assert all(np.sqrt(np.mean(sound**2)) > 0.003 for sound in recorded)
    assert not any(np.array_equal(a, b) for a in recorded for b in rendered)


def test_a_resource_archive_gives_back_its_files():
    files = {"a.ogg": b"\x00" * 300, "é.txt": b"text"}
    archive = rcc_of(files, compressed=["a.ogg"])
    assert read_rcc(archive) == {f"music/{name}": body for name, body in files.items()}


def test_a_resource_archive_that_is_cut_or_none_is_refused():
    with pytest.raises(ValueError, match=r"not a Qt resource archive: it begins with b'RIFF'"):
        read_rcc(b"RIFF" + bytes(40))
    with pytest.raises(ValueError, match="cut short or damaged"):
        read_rcc(rcc_of({"a.ogg": bytes(300)})[:80])


def test_a_debian_package_is_read_without_dpkg(tmp_path):
    data = tar_of({"./usr/share/a.rcc": rcc_of({"a.ogg": b"sound"}), "./usr/share/b.txt": b"text"})
    header = f"{'data.tar.gz':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
    control = f"{'debian-binary':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{3:<10}`\n".encode() + b"2.0\n"
    package = tmp_path / "a_1.0_all.deb"
    package.write_bytes(b"!<arch>\n" + control + header + data)
    copies = unpack(package, [("usr/share/a.rcc", "music/a.ogg"), ("usr/share/b.txt", "")], tmp_path)
    assert [path.read_bytes() for path in copies.values()] == [b"sound", b"text"]
    with pytest.raises(FileNotFoundError, match=r"a_1\.0_all\.deb: no usr/share/c\.txt in it"):
        unpack(package, [("usr/share/c.txt", "")], tmp_path)
    package.write_bytes(b"text")
    with pytest.raises(ValueError, match="not a Debian package"):
        unpack(package, [("usr/share/b.txt", "")], tmp_path)


def test_a_clip_that_is_missing_is_cut_again_and_is_the_same_afterwards(shipped):
    folder, options = shipped
    recordings.main(options)
    clip = load_clip(folder / "noise_1.ogg")
    expected = NOISE[2 * RATE_HZ :][: len(clip)] * 10 ** (-6 / 20)
    assert np.corrcoef(clip, expected)[0, 1] > 0.9  # white noise is the worst case for Vorbis; one sample off gives 0
    written = (folder / "noise_1.ogg").read_bytes()
    recordings.main(options)
    assert (folder / "noise_1.ogg").read_bytes() == written


def test_a_clip_that_differs_is_named_and_kept_until_it_is_to_be_replaced(shipped):
    folder, options = shipped
    save_clip(folder / "noise_1.ogg", NOISE[:100_000])
    with pytest.raises(Unfinished, match=r"1 clips differ .* noise/noise_1\.ogg\. .*--replace"):
        recordings.main(options)
    assert len(load_clip(folder / "noise_1.ogg")) == 100_000
    options.replace = True
    recordings.main(options)
    assert len(load_clip(folder / "noise_1.ogg")) == round(CLIP_S * RATE_HZ)


def test_a_package_that_changed_is_refused(shipped):
    _, options = shipped
    (options.packages / "noise-1.0.tgz").write_bytes(tar_of({"package/noise.wav": b"another"}))
    with pytest.raises(ValueError, match=r"package/noise\.wav has changed .* Get version 1\.0 of the package"):
        recordings.main(options)


def test_a_package_that_is_not_in_the_folder_is_named(shipped):
    _, options = shipped
    (options.packages / "noise-1.0.tgz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file of noise 1\.0 \(npm\) in it"):
        recordings.main(options)


def test_a_missing_client_says_what_to_run_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"apt-get is not installed.*`apt-get download a=1`.*--packages"):
        fetch_package("Debian", "a", "1", tmp_path)


def test_offline_a_download_says_so(tmp_path, monkeypatch):
    client = tmp_path / "npm"
    client.write_text("#!/bin/sh\necho network is unreachable >&2\nexit 1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"a 1 could not be downloaded \(network is unreachable\)"):
        fetch_package("npm", "a", "1", tmp_path / "downloads")


def test_g722_without_ffmpeg_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"ffmpeg is not installed, and a\.g722"):
        recordings._readable(tmp_path / "a.g722")
