"""Build a listening study from runs, and serve it: `python -m tmp_utils survey`.

The profile's newest questionnaire is served. A new one is built if there is none, or if --variants, --n-per-kind,
--seed or --contact ask for another; one with the same options is reused, with its answers.
"""

import argparse
from pathlib import Path

from tmp_utils.runs.collection import user_concepts
from tmp_utils.runs.place import Place
from tmp_utils.survey.app import serve
from tmp_utils.survey.pairs import N_PER_KIND, VARIANTS, build_questionnaire
from tmp_utils.survey.questions import load_questionnaire, newest_questionnaire
from tmp_utils.survey.store import Store

DECIDING = ("variants", "n_per_kind", "seed", "contact")  # options that make it another questionnaire


def main(options: argparse.Namespace) -> None:
    """Build the questionnaire if there is none, and serve it or export its answers."""
    folder = options.questionnaire or _folder(options)
    if options.export:
        questionnaire = load_questionnaire(folder)
        print(f"Answers so far: {Store(questionnaire, options.answers).export(options.export)}")
    else:
        serve(folder, options.answers, options.port, options.host, options.share)
        print("The page is closed. All answers are stored; run again to reopen it.")


def _folder(options: argparse.Namespace) -> Path:
    """The newest study of the profile; a new one is built if there is none, or if an option asks for another."""
    given = {name: getattr(options, name) for name in DECIDING if getattr(options, name) is not None}
    place = Place(options.runs_dir, options.profile)
    newest = newest_questionnaire(place)
    if newest and not options.build and not given:
        return newest.folder
    concepts = user_concepts(place, options.concepts)
    questionnaire = build_questionnaire(place, **given, concepts=concepts)
    print(
        f"{questionnaire.folder}: {len(questionnaire.questions)} questions on {' and '.join(questionnaire.variants)}.",
        flush=True,
    )
    if not questionnaire.contact:
        print("It names nobody whom participants can write to; --contact does.", flush=True)
    return questionnaire.folder


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--questionnaire", type=Path, help="a questionnaire's folder; by default the profile's newest")
    parser.add_argument("--build", action="store_true", help="build a study of the runs as they are now")
    parser.add_argument("--variants", nargs="+", help=f"what is compared: {' '.join(VARIANTS)}")
    parser.add_argument("--n-per-kind", type=int, help=f"questions of either kind: {N_PER_KIND}")
    parser.add_argument("--seed", type=int, help="which pairs are drawn: 0")
    parser.add_argument("--contact", help="whom participants can write to; shown on the page")
    parser.add_argument("--answers", type=Path, help="the database, by default in the study's folder")
    parser.add_argument("--export", type=Path, metavar="CSV", help="write the answers so far, and end")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, help="by default the first free one from 7860 on")
    parser.add_argument("--share", action="store_true", help="a public link, through Gradio")
