"""One page that answers first, loads nothing, escapes what it shows and names what is missing, failed or damaged."""

import base64
import gzip
import io
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest
import soundfile
from results_runs import PROFILE, clip, collect, make_run, rows
from survey_browser import browser

from tmp_utils import figures
from tmp_utils.files import write_csv
from tmp_utils.findings import charts, narrative, report
from tmp_utils.findings.claims import beside, with_numbers
from tmp_utils.findings.comparisons import setup_cells
from tmp_utils.findings.published import read_published, read_results
from tmp_utils.findings.verdicts import verdicts
from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.credits import credits_of
from tmp_utils.metrics.table import RESULT_COLUMNS
from tmp_utils.runs.place import Place

STRANGE = "<script>sitar"


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, its words, its charts and its sounds."""

    def __init__(self, page):
        super().__init__()
        self.html = page.read_text(encoding="utf-8")
        self.tags, self.attributes, self.words = [], [], []
        self.feed(self.html)
        self.text = " ".join(" ".join(self.words).split())
        self.sounds = [
            base64.b64decode(value.partition(",")[2]) for tag, a in self.attributes if (value := a.get("src", ""))
        ]
        charts = re.findall(r'<script type="application/json">(.*?)</script>', self.html, re.DOTALL)
        self.charts = [json.loads(chart) for chart in charts]

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags[-1:] not in (["script"], ["style"]):
            self.words.append(data)


def write(study, profile=PROFILE):
    return Page(report.write_report(Place(study[0], profile)))


@pytest.fixture(scope="module")
def whole(scored_once, tmp_path_factory):
    """A study with its plane, the table of its results, and its page."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    shutil.copytree(scored_once[0].parent.with_name("copy"), folder)
    study = (folder / "runs",)
    table = read_results(Place(study[0], PROFILE))
    figures.save_figure(figures.clap_plane(table), study[0] / PROFILE / "figures", "metrics_figure_3")
    return study, table, write(study)


def test_the_published_table_is_told_beside_the_runs(whole, monkeypatch):
    study, table, _ = whole
    published = read_published("pocket")
    monkeypatch.setattr(report, "read_published", lambda profile: published)
    page = write(study)
    words = [narrative.answer(published), " ".join(narrative.comparisons(published)), narrative.conditions(published)]
    assert all(" ".join(each.split()) in page.text for each in words)
    assert narrative.answer(table) in page.text and "not measured" in page.text


def correlation(sound, path):
    """Return how alike an Ogg's samples and a file's are, from -1 to 1."""
    samples, rate_hz = soundfile.read(io.BytesIO(sound))
    expected, _ = soundfile.read(path)
    assert rate_hz == RATE_HZ and len(samples) == pytest.approx(len(expected), abs=64)
    n = min(len(samples), len(expected))
    return np.corrcoef(samples[:n], expected[:n])[0, 1]


def test_the_page_answers_first_and_shows_before_and_after_with_players_in_that_order(whole):
    study, table, page = whole
    order = [narrative.answer(table), "Before training", "After Textual Inversion", "After DreamBooth"]
    comparison = " ".join(narrative.comparisons(table))
    order += [comparison, charts.PLANE, "numbers mean nothing", "The paper's findings", "Table 1"]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places) and "smoke test" in order[0]
    assert page.text.index(order[0]) == page.text.index("new sound? ") + len("new sound? ")  # right under the title
    for sound, variant in zip(page.sounds, ("untrained-class-noun", "TI-BL", "DB-BL"), strict=False):
        assert correlation(sound, clip(study, variant, concept="harp")) > 0.95
    assert [len(np.shape(chart["data"])) for chart in page.charts[:3]] == [1, 1, 1]
    assert {chart["data"][0]["type"] for chart in page.charts[:3]} == {"heatmap"}


def test_a_person_without_sight_or_mouse_finds_the_parts(whole):
    page = whole[2]
    headings = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1 and headings.count(1) == 1 and max(np.diff(headings)) <= 1
    by_tag = [tag for tag, _ in page.attributes]
    assert by_tag.count("main") == 1 and dict(page.attributes)["html"] == {"lang": "en"}
    players = [a for tag, a in page.attributes if tag == "audio"]
    charts = [a for tag, a in page.attributes if a.get("class") == "plot"]
    wide = [a for tag, a in page.attributes if a.get("class") == "wide"]
    assert players and all("controls" in a and len(a["aria-label"]) > 5 for a in players)
    assert charts and all(a["role"] == "img" and len(a["aria-label"]) > 5 for a in charts)
    assert wide and all(a["tabindex"] == "0" and a["aria-label"] for a in wide)


def test_the_report_shows_results_and_verdicts_as_tables(whole):
    _, table, page = whole
    value = rows(table, concept="harp", method="DB", setup="MIX", metric="clap_a")["value"].item()
    assert f"<td>{value:.3f} [" in page.html
    cells = beside({"these runs": verdicts(table)}).to_numpy().ravel()
    assert len(cells) > 40 and all(f"<td>{cell}</td>" in unescape(page.html) for cell in cells)
    row = setup_cells(table).iloc[0]
    assert f"<td>{row['clap_a'].partition(' ')[0]} <span>[" in page.html and f"paper {row['clap_a_paper']}" in page.text
    told = with_numbers(verdicts(table)).to_numpy().ravel()
    assert all(f"<td>{cell}</td>" in unescape(page.html) for cell in told)
    titles = ("The paper's findings", "Table 1", "Figures", "Listen", "How it was made")
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)
    tables = re.findall(r"(<details>|</details>|<div class=\"wide\")", page.html[: page.html.index("<h2>Figures")])
    wide = [k for k, tag in enumerate(tables) if tag.startswith("<div")]
    assert [tables[k - 1] == "<details>" for k in wide[1:]] == [True] * 3 and wide[0] == 0  # verdicts are in view


def test_the_report_says_what_failed_and_why_and_names_a_clip_that_is_gone_or_damaged_and_does_not_play_it(
    scored, whole
):
    assert "Failed, and why" not in whole[2].text
    clip(scored, file="genre-jazz-0.wav").unlink()
    collect(scored)
    clip(scored, concept="harp").unlink()
    damaged = clip(scored, "TI-BL", concept="harp")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    page = write(scored)
    assert "Failed, and why (3 rows)" in page.text and "genre-jazz-0.wav" in page.text
    assert "reconstruction-0.wav is missing" in page.text
    assert re.search(r"reconstruction-0.wav is damaged \(\d+ bytes where \d+ were written\); run the", page.text)
    assert len(page.sounds) == len(whole[2].sounds) - 2 * 2  # each is among the first clips and in the list


def test_a_damaged_listing_is_named_with_the_remedy_and_the_rest_of_the_page_stays(scored):
    listing = clip(scored, file="clips.csv")
    listing.write_bytes(listing.read_bytes()[:-30])
    page = write(scored)
    assert "clips.csv: damaged" in page.text and "Run the notebook that made it again" in page.text
    assert "Table 1" in page.text and "undecided (" in page.text and not page.sounds


def test_a_damaged_table_of_results_is_refused_by_its_name_and_collecting_again_repairs_it(scored):
    table = collect(scored)
    path = scored[0] / PROFILE / "results.csv"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"results\.csv: damaged .* results --profile smoke"):
        write(scored)
    assert collect(scored).equals(table) and read_results(Place(scored[0], PROFILE)).equals(table)


def test_recordings_are_credited_under_their_players_and_at_the_end_and_nothing_else_is(tmp_path, whole):
    """Of a rendered stand-in, a folder that is gone, and a recording that one run mixes backgrounds into."""
    for concept, setup in (("koto", "MIX"), ("lute", "1-AC"), ("war_drums", "BL"), ("war_drums", "MIX")):
        make_run(tmp_path, concept, "TI", setup)
    page = write((tmp_path,))
    drums, sounds = (credit.line for credit in credits_of(load_concept("war_drums"), ["TI-MIX"]))
    shown, _, listed = page.text.rpartition("Recordings")
    assert [listed.count(line) for line in (drums, sounds)] == [1, 1] and listed.count("cut and resampled") == 2
    assert "models that learned from these recordings" in listed
    assert shown.count("Recording: ") == 1 and shown.index(f"Recording: {drums}") < shown.index("Which method")
    files = (tmp_path / PROFILE / "report" / "parts").glob("*.js")
    parts = [unescape(json.loads(path.read_text().partition(", ")[2].removesuffix(");\n"))) for path in files]
    by_concept = {re.search(r"<b>(\w+): Textual", part)[1]: part for part in parts}
    assert [f"Recording: {line}" in by_concept["war_drums"] for line in (drums, sounds)] == [True, True]
    assert by_concept.keys() == {"lute", "war_drums"} and "Recording:" not in by_concept["lute"]
    assert whole[2].text.count("cut and resampled") == whole[2].text.count(sounds) > 0  # of own clips, mixed with these


@pytest.fixture
def strange_study(tmp_path, loaded):
    """A run and figures of a concept whose name is markup."""
    make_run(tmp_path, STRANGE, "TI", "BL")
    row = {"profile": PROFILE, "concept": STRANGE, "method": "TI", "setup": "BL", "seed": 0, "prompt": "all"}
    row |= {"metric": "clap_a", "value": 0.75, "n": 2, "ci_low": 0.7, "ci_high": 0.8, "embedder": "judge"}
    row |= {"interval_over": "2 generated clips", "status": "ok", "note": ""}
    write_csv(Place(tmp_path, PROFILE).runs()[0] / "metrics.csv", [{name: row[name] for name in RESULT_COLUMNS}])
    figure = go.Figure(go.Scatter(y=[1, 2]), layout_title_text="</script><b>")
    for part in ("figures", "figures/<i>koto"):
        figures.save_figure(figure, tmp_path / PROFILE / part, "curve")
    return tmp_path, []


def test_the_page_loads_nothing_and_shows_names_as_they_are(strange_study):
    page = write(strange_study)
    loads = [value for _, a in page.attributes for name, value in a.items() if name in {"src", "href"}]
    assert len(loads) == 3 and all(value.startswith("data:audio/ogg;base64,") for value in loads)
    assert f"{STRANGE}: Textual Inversion BL" in unescape(page.html) and f"<td>{STRANGE}" not in page.html
    assert "&lt;script&gt;sitar" in page.html and "<summary>&lt;i&gt;koto</summary>" in page.html
    assert page.tags.count("script") == 2 + len(page.charts) and "i" not in page.tags
    assert page.html.count('<p class="title">&lt;/script&gt;</p>') == 2 and len(page.charts) == 3
    assert "0.750 [0.700, 0.800]" in page.text
    (plotly,) = re.findall(r'id="plotly">([^<]*)<', page.html)
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(plotly))


def test_a_broken_figure_is_named_on_the_page_and_the_others_stay(strange_study):
    (strange_study[0] / PROFILE / "figures" / "a_broken.json").write_text("{")
    page = write(strange_study)
    assert "a_broken.json is not a plotly figure" in page.text and len(page.charts) == 3


def test_an_empty_study_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="make study"):
        report.write_report(Place(tmp_path, "smoke"))
    (tmp_path / "smoke").mkdir()
    page = write((tmp_path,))
    missing = ["answer", "clips before", "comparison of", "plane of", "results", "measurements", "verdicts", "figures"]
    assert [part for part in [*missing, "clips", "executed"] if f"No {part}" not in page.text] == []


def test_figures_of_further_concepts_lie_beside_the_page_and_old_ones_go(strange_study):
    one, further = write(strange_study), strange_study[0] / PROFILE / "figures" / "lute"
    figures.save_figure(go.Figure(go.Scatter(y=[0] * 9999)), further, "curve")
    page, parts = write(strange_study), strange_study[0] / PROFILE / "report" / "parts"
    assert len(page.html) < len(one.html) + 500 and "<summary>lute</summary>" in page.html
    (file,) = parts.iterdir()
    assert f'data-part="parts/{file.name}"' in page.html and len(file.read_text()) > 10_000
    (further / "curve.json").unlink()
    write(strange_study)
    assert list(parts.iterdir()) == []


def test_the_report_fits_a_phone_and_draws_its_figures_without_a_network(strange_study):
    curve = go.Figure(go.Scatter(y=[1, 2]))
    figures.save_figure(curve, strange_study[0] / PROFILE / "figures" / "lute", "curve")
    page = report.write_report(Place(strange_study[0], PROFILE))
    with browser() as chromium:
        phone = chromium.new_page(viewport={"width": 390, "height": 800}, offline=True)
        faults, requests = [], []
        phone.on("pageerror", lambda error: faults.append(str(error)))
        phone.on("request", lambda request: requests.append(request.url))
        phone.goto(page.as_uri())
        plots = phone.locator(".plot.js-plotly-plot svg.main-svg:first-child")
        plots.nth(2).wait_for()
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        assert [round(plot.bounding_box()["width"]) <= 390 for plot in plots.all()] == [True] * 3
        sizes = "[...document.querySelectorAll('text')].map((text) => parseFloat(getComputedStyle(text).fontSize))"
        sizes = phone.evaluate(sizes)
        assert sizes and min(sizes) >= 11
        phone.get_by_text("lute").click()
        plots.nth(3).wait_for()  # from the file beside the page
        (page.parent / "parts").rename(page.parent / "elsewhere")
        phone.reload()
        phone.get_by_text("lute").click()
        phone.get_by_text("is missing: copy the whole folder").wait_for()
        assert faults == [] and [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
