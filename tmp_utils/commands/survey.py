"""Build a listening study from runs, and serve it: `python -m tmp_utils survey`.

The profile's newest questionnaire is served. A new one is built if there is none, or if --variants, --n-per-kind,
--seed, --about or --contact describe another; one that was built with the same options is used again, with its answers.
"""

import argparse
import dataclasses
from pathlib import Path

from tmp_utils.files import check_writable
from tmp_utils.runs.collection import user_concepts
from tmp_utils.runs.place import Place
from tmp_utils.survey.about import About, load_about
from tmp_utils.survey.app import serve
from tmp_utils.survey.building import N_PER_KIND, build_questionnaire
from tmp_utils.survey.pairs import VARIANTS
from tmp_utils.survey.questions import load_questionnaire, newest_questionnaire, tidy_code
from tmp_utils.survey.session import Rules
from tmp_utils.survey.store import Store

DECIDING = ("variants", "n_per_kind", "seed")  # with about and contact, the options that make it another questionnaire


def main(options: argparse.Namespace) -> None:
    """Build the questionnaire if there is none, and serve it, export its answers or delete a participant's."""
    if options.export:
        check_writable(options.export)
    folder = options.questionnaire or _folder(options)
    if options.export or options.withdraw:
        store = Store(load_questionnaire(folder), options.answers)
        if options.withdraw:
            n = store.withdraw(tidy_code(options.withdraw) or options.withdraw)
            print(f"{options.withdraw} and {n} answers are deleted. Delete them from files you exported before, too.")
        if options.export:
            print(f"Answers so far: {store.export(options.export)}, and the participants beside it.")
    else:
        rules = Rules() if options.participants is None else Rules(max_participants=options.participants)
        places = (options.answers, options.port, options.host, options.share)
        serve(folder, *places, rules=rules, invitations=options.invite)
        print("The page is closed. Every answer is stored. Run the same command to continue.")


def _folder(options: argparse.Namespace) -> Path:
    """The newest questionnaire of the profile; one is built if there is none, or if the options describe another."""
    given = {name: getattr(options, name) for name in DECIDING if getattr(options, name) is not None}
    if options.about or options.contact:
        about = load_about(options.about) if options.about else About()
        given["about"] = dataclasses.replace(about, contact=options.contact) if options.contact else about
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
    if unfinished := questionnaire.about.unfinished:
        print(
            f"It does not tell participants {', '.join(unfinished)}. Copy data/survey/about.toml, fill it in, and "
            "build with --about FILE before you ask strangers.",
            flush=True,
        )
    return questionnaire.folder


def _positive(word: str) -> int:
    if not word.isdecimal() or not 0 < int(word) <= 100_000:
        raise argparse.ArgumentTypeError(f"{word!r}: expected a whole number from 1 to 100000.")
    return int(word)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--questionnaire", type=Path, help="a questionnaire's folder; by default the profile's newest")
    parser.add_argument("--build", action="store_true", help="build a questionnaire from the present runs")
    parser.add_argument("--variants", nargs="+", help=f"what to compare (default: {' '.join(VARIANTS)})")
    parser.add_argument("--n-per-kind", type=int, help=f"questions of each kind (default: {N_PER_KIND})")
    parser.add_argument("--seed", type=int, help="which pairs are drawn (default: 0)")
    parser.add_argument("--about", type=Path, metavar="TOML", help="who runs the study; see data/survey/about.toml")
    parser.add_argument("--contact", help="whom participants can write to, instead of the contact in --about")
    parser.add_argument(
        "--participants", type=_positive, metavar="N", help="close after N people have answered (default: 1000)"
    )
    parser.add_argument(
        "--invite",
        type=_positive,
        default=0,
        metavar="N",
        help="write N one-time links; nobody can start without one",
    )
    parser.add_argument("--answers", type=Path, help="the database, by default in the questionnaire's folder")
    parser.add_argument("--export", type=Path, metavar="CSV", help="write the answers so far, and end")
    parser.add_argument("--withdraw", metavar="CODE", help="delete a participant's answers, and end")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    parser.add_argument("--share", action="store_true", help="a public link, through Gradio")
