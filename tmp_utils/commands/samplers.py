"""With how few denoising steps does a profile's backbone score as it does with 50? Measured once and published.

Conventions: `python -m tmp_utils samplers --profile pocket` generates with the untrained backbone (the editability
prompts of a few nouns), then with the baselines of Textual Inversion and DreamBooth, trained on a few concepts (the
prompts of a run, fewer of them). Each sampler is tested for equivalence with 50-step DDIM; every row states its margin.
The second embedder, MusiCNN, compares with the concepts' clips after the codec, as the verdicts do. The table is
`data/published/samplers-<profile>.csv`; the pocket profile takes about an hour on one core.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tmp_utils.files import check_writable, write_csv
from tmp_utils.findings.published import samplers_path
from tmp_utils.inputs.profiles import load_profile, load_setup
from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.equivalence import MARGIN, Equivalence, distance_equivalence, fewest_steps, paired_equivalence
from tmp_utils.metrics.names import key_of
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import UNTRAINED

NOUNS, PUBLISHED_STEPS, RESAMPLES = ("guitar", "drums"), (6, 8, 10), 200
CONCEPTS = ("irish_fiddle", "electronic_beat", "tenor", "sitar", "kalimba", "greensleeves")
N_RECONSTRUCTIONS, N_EDITS = 4, 10  # clips of each concept
SD_SHARE, FAD_SHARE = 0.2, 0.05
PAPERS_SAMPLER = ("DDIM", 50)
SCHEDULERS = ("DPMSolverMultistep", "UniPCMultistep", "DDIM")


@dataclass(frozen=True)
class Trial:
    """What is generated with every sampler, and compared with what.

    Attributes
    ----------
    make : scheduler, steps -> n clips, always from the same noise.
    texts : (n,), the text of each clip's prompt, with the class noun.
    training : the clips of each concept.
    coded : the same clips after the codec, for the second embedder.
    concept : int (n,), which of them a clip is compared with.
    """

    make: Callable[[str, int], list[np.ndarray]]
    texts: Sequence[str]
    training: Sequence[Sequence[np.ndarray]]
    coded: Sequence[Sequence[np.ndarray]]
    concept: np.ndarray


@dataclass(frozen=True)
class Judge:
    """An embedder, what it compares generated clips with, and its scores of the clips of `PAPERS_SAMPLER`.

    Attributes
    ----------
    near : the embeddings of each concept's clips, (m, d) each.
    concept : int (n,), which of them a clip is compared with.
    texts : embeddings (n, d) of the prompts; None leaves out CLAP-T.
    keys : of CLAP-A and of FAD by this embedder.
    reference : embeddings (n, d) of the clips of `PAPERS_SAMPLER`.
    """

    embedder: Embedder
    near: Sequence[np.ndarray]
    concept: np.ndarray
    texts: np.ndarray | None
    keys: tuple[str, str]
    reference: np.ndarray

    def similarities(self, embedded: np.ndarray) -> dict[str, np.ndarray]:
        """Return CLAP-A and, with texts, CLAP-T of embedded clips, (n,) each."""
        near = [similarity_matrix(embedded[[k]], self.near[c]).mean() for k, c in enumerate(self.concept)]
        scores = {self.keys[0]: np.array(near)}
        if self.texts is not None:
            scores["clap_t"] = np.diag(similarity_matrix(embedded, self.texts)).copy()
        return scores

    @cached_property
    def before(self) -> dict[str, np.ndarray]:
        """The similarities of the clips of `PAPERS_SAMPLER`."""
        return self.similarities(self.reference)

    @cached_property
    def known(self) -> np.ndarray:
        """The clips of all concepts, embedded, which FAD compares with."""
        return np.concatenate(self.near)

    @cached_property
    def fad(self) -> float:
        """FAD of the clips of `PAPERS_SAMPLER`."""
        return frechet_audio_distance(self.known, self.reference).value

    def tests(self, clips: Sequence[np.ndarray]) -> Iterator[dict]:
        """Yield a row a metric: whether clips of the same prompts and noise score as those of `PAPERS_SAMPLER`."""
        embedded = self.embedder.embed_clips(clips)
        for key, values in self.similarities(embedded).items():
            before = self.before[key]
            margin = min(MARGIN, SD_SHARE * float(np.std(before, ddof=1)))
            yield self._row(key, float(before.mean()), paired_equivalence(values, before, margin))
        margin = FAD_SHARE * self.fad
        test = distance_equivalence(self.known, embedded, self.reference, margin, n_resamples=RESAMPLES)
        yield self._row(self.keys[1], self.fad, test)

    def _row(self, metric: str, reference: float, test: Equivalence) -> dict:
        row = {"metric": metric, "embedder": self.embedder.name, "reference": reference}
        return row | asdict(test) | {"equivalent": test.equivalent}


def untrained_trial(backbone, settings, nouns: Sequence[str]) -> Trial:
    """Return the trial of the untrained backbone: the editability prompts of nouns, beside all stand-ins together."""
    from tmp_utils.inputs.concepts import are_stand_ins, list_concepts, load_clips, load_concept
    from tmp_utils.inputs.prompts import editability_prompts, fill
    from tmp_utils.model.generate import clip_seed

    rendered = [name for name in list_concepts() if are_stand_ins([name])]  # the model was trained on rendered music
    training = [clip for name in rendered for clip in load_clips(load_concept(name), 5)]
    prompts = editability_prompts(settings.n_editability_prompts)
    filled = [(prompt.id, fill(prompt.template, noun)) for noun in nouns for prompt in prompts]
    seeds = [clip_seed(0, name + text, 0) for name, text in filled]
    texts = [text for _, text in filled]
    make = _maker(backbone, settings, [(texts, seeds, None)])
    return Trial(make, texts, [training], [_coded(backbone, training)], np.zeros(len(texts), int))


def adapters_trial(backbone, settings, method: str, concepts: Sequence[str]) -> Trial:
    """Return the trial of a method's baseline, which is trained on each concept: its own prompts and clips."""
    from tmp_utils.inputs.concepts import load_clips, load_concept
    from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
    from tmp_utils.model.generate import clip_seed
    from tmp_utils.personalize import personalise

    parts, texts, training, setup = [], [], [], load_setup(method, "BL")
    edits = editability_prompts(min(N_EDITS, settings.n_editability_prompts))
    asked = [(reconstruction_prompt(), k) for k in range(N_RECONSTRUCTIONS)] + [(prompt, 0) for prompt in edits]
    for name in concepts:
        concept = load_concept(name)
        adapter = personalise(backbone, concept, setup, 0, profile=settings, progress=False)
        words, seeds = adapter.phrase(concept), [clip_seed(0, prompt.id, k) for prompt, k in asked]
        parts.append(([fill(prompt.template, words) for prompt, _ in asked], seeds, adapter))
        texts += [fill(prompt.template, concept.class_noun) for prompt, _ in asked]
        training.append(load_clips(concept))
    coded, owner = [_coded(backbone, clips) for clips in training], np.repeat(np.arange(len(parts)), len(asked))
    return Trial(_maker(backbone, settings, parts), texts, training, coded, owner)


def _coded(backbone, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    from tmp_utils.model.transfer import round_trip

    return [round_trip(backbone, clip) for clip in clips]


def _maker(backbone, settings, parts: Sequence[tuple]) -> Callable[[str, int], list[np.ndarray]]:
    """Return what generates the clips of prompts, seeds and adapter, of each part, with a sampler."""
    from tmp_utils.model.generate import generate

    def make(scheduler: str, steps: int) -> list[np.ndarray]:
        numbers = {"steps": steps, "scheduler": scheduler, "guidance_scale": settings.guidance_scale}
        numbers |= {"clip_s": settings.clip_s, "progress": False}
        made = [generate(backbone, prompts, seeds, adapter=adapter, **numbers) for prompts, seeds, adapter in parts]
        return [clip for clips in made for clip in clips]

    return make


def measure_samplers(
    profile: str,
    nouns: Sequence[str] = NOUNS,
    steps: Sequence[int] = PUBLISHED_STEPS,
    concepts: Sequence[str] = CONCEPTS,
) -> pd.DataFrame:
    """Compare every scheduler at every number of steps with 50-step DDIM.

    Parameters
    ----------
    nouns : each fills every editability prompt of the profile, for the untrained backbone; none leaves it out.
    steps : numbers of denoising steps to try.
    concepts : what the baselines are trained on; none leaves them out.

    Returns
    -------
    As `sampler_equivalence`, with the columns model ("untrained", "TI-BL", "DB-BL") and backbone (hash).

    Raises
    ------
    ValueError : the backbone does not take one of the schedulers; nothing was trained or generated.
    """
    from tmp_utils.metrics.embed import check_embedder, load_embedder
    from tmp_utils.model.backbone import load_backbone
    from tmp_utils.runs.score import SECOND_EMBEDDER

    settings = load_profile(profile)
    check_embedder(settings.embedder)
    backbone, embedders = load_backbone(settings), [load_embedder(settings.embedder), load_embedder(SECOND_EMBEDDER)]
    candidates = [(scheduler, n) for n in steps for scheduler in SCHEDULERS]
    for scheduler, _ in [PAPERS_SAMPLER, *candidates]:
        backbone.choose_scheduler(scheduler)
    trials = {UNTRAINED: lambda: untrained_trial(backbone, settings, nouns)} if nouns else {}
    for method in ("TI", "DB") if concepts else ():
        trials[f"{method}-BL"] = lambda method=method: adapters_trial(backbone, settings, method, concepts)
    tables = [sampler_equivalence(*embedders, trial(), candidates).assign(model=name) for name, trial in trials.items()]
    return pd.concat(tables, ignore_index=True).assign(backbone=backbone.hash[:12])


def sampler_equivalence(first, second, trial: Trial, candidates: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """Compare samplers with `PAPERS_SAMPLER`, the paper's, on CLAP-T, and on CLAP-A and FAD by both embedders.

    Parameters
    ----------
    first, second : embedders; the first embeds prompts, too.
    trial : its clips of all concepts together count for FAD, whose bias shrinks with their number.
    candidates : (scheduler, steps) of each sampler.

    Returns
    -------
    scheduler, steps, metric, embedder, reference (its mean), difference, ci_low, ci_high, margin, n, equivalent; a row
    a candidate and metric.
    """
    wanted, clips = first.embed_prompts(list(trial.texts)), trial.make(*PAPERS_SAMPLER)
    judges = []
    for embedder, sides, texts in ((first, trial.training, wanted), (second, trial.coded, None)):
        near, coded = [embedder.embed_clips(list(side)) for side in sides], embedder is second
        keys = tuple(key_of(metric, embedder.name, coded) for metric in ("clap_a", "fad"))
        judges.append(Judge(embedder, near, trial.concept, texts, keys, embedder.embed_clips(clips)))
    rows = []
    for scheduler, steps in candidates:
        clips = trial.make(scheduler, steps)
        rows += [{"scheduler": scheduler, "steps": steps} | row for judge in judges for row in judge.tests(clips)]
    return pd.DataFrame(rows)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument(
        "--nouns", nargs="*", default=NOUNS, help=f"class nouns for the untrained model (default: {' '.join(NOUNS)})"
    )
    parser.add_argument(
        "--concepts", nargs="*", default=CONCEPTS, help=f"what the baselines learn (default: {' '.join(CONCEPTS)})"
    )
    parser.add_argument("--steps", nargs="+", type=int, default=PUBLISHED_STEPS, help="numbers of denoising steps")


def main(options: argparse.Namespace) -> None:
    """Measure a profile's samplers and publish the table."""
    if not [*options.nouns, *options.concepts]:
        raise ValueError("--nouns and --concepts are both empty; there is nothing to generate.")
    path = samplers_path(load_profile(options.profile).name)
    check_writable(path)
    table = measure_samplers(options.profile, options.nouns, options.steps, options.concepts)
    write_csv(path, table)
    print(table.round(4).to_string(index=False))
    for model, rows in table.groupby("model", sort=False):
        print(f"{model}: fewest steps that are equivalent in everything: {fewest_steps(rows)}")
    print(f"Written: {path}")
