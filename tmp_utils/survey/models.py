"""Models of preference: participants and questions as random effects, and abilities of many variants.

Conventions: only decided answers count (A or B). Effects are log-odds that the first variant wins; 0 is no
preference, and `share` is the same as a probability.
"""

import numpy as np
import pandas as pd

from tmp_utils.survey.analysis import ENDS, decided, source_of

PRIOR_SD = 2.0  # of fixed effects, in log-odds: keeps a unanimous vote finite
MIN_DECIDED = 10
N_DRAWS, MAX_STEPS = 400, 1000


def mixed_model(answers: pd.DataFrame) -> pd.DataFrame:
    """Fit won ~ kind + side + (1 | participant) + (1 | item) to the decided answers of two variants.

    The spreads of participants and items come from statsmodels' variational fit (`BinomialBayesMixedGLM`). Its
    own intervals treat fixed and random effects as independent and are far too narrow (64 % coverage for a
    nominal 95 % at 34 x 10 answers with items of spread 0.6), so the effects and intervals come from the
    joint posterior mode at those spreads and its curvature, with a normal prior of `PRIOR_SD` on fixed effects
    (93 to 100 % coverage in 60 simulated studies of that kind).

    Returns
    -------
    One row an effect: effect ("reconstruction", "editability": preference for the first variant; "side A":
    pull of the left clip), log_odds, ci_low, ci_high, share, decided, participant_sd, item_sd, status, source.
    With fewer than `MIN_DECIDED` decided answers nothing is fitted, and `status` says so.

    Raises
    ------
    ValueError : more than two variants; use `bradley_terry`.
    """
    if (pairs := answers.loc[~answers["catch"], ["first", "second"]].drop_duplicates()).shape[0] > 1:
        raise ValueError(f"{len(pairs)} pairs of variants; a mixed model needs one. Use bradley_terry for more.")
    wins = decided(answers)
    kinds = [kind for kind in ("reconstruction", "editability") if kind in set(wins["kind"])]
    if len(wins) < MIN_DECIDED:
        status = f"{len(wins)} decided answers; a model needs {MIN_DECIDED}"
        return pd.DataFrame([{"effect": "none", "decided": len(wins), "status": status, "source": source_of(answers)}])
    from scipy.special import expit
    from scipy.stats import norm

    fixed = np.column_stack(
        [*((wins["kind"] == kind) for kind in kinds), np.where(wins["side_a"] == wins["first"], 0.5, -0.5)]
    ).astype(float)
    mean, sd, spreads = _fit(wins, fixed)
    z = norm.ppf(ENDS[1])
    table = pd.DataFrame({"effect": [*kinds, "side A"], "log_odds": mean, "ci_low": mean - z * sd})
    table = table.assign(ci_high=mean + z * sd, share=expit(mean), decided=[*(fixed[:, :-1].sum(0)), len(wins)])
    spreads = dict(zip(("participant_sd", "item_sd"), spreads, strict=True))
    return table.assign(**spreads, status="ok", source=source_of(answers)).astype({"decided": int})


def _fit(wins: pd.DataFrame, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (f,) and standard deviations (f,) of the fixed effects, and the two spreads, in log-odds."""
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    won = wins["won"].to_numpy(float)
    groups = [pd.get_dummies(wins[name]).to_numpy(float) for name in ("participant", "question")]
    sizes = [group.shape[1] for group in groups]
    ident = np.repeat([0, 1], sizes)
    model = BinomialBayesMixedGLM(won, fixed, np.hstack(groups), ident, vcp_p=1.0, fe_p=PRIOR_SD)
    start = np.full(fixed.shape[1] + 2 + len(ident), 0.5)  # statsmodels would draw it from the global generator
    spreads = np.exp(model.fit_vb(mean=0 * start, sd=start).vcp_mean)
    prior_sd = np.concatenate([np.full(fixed.shape[1], PRIOR_SD), np.repeat(spreads, sizes)])
    mean, covariance = _posterior(won, np.hstack([fixed, *groups]), prior_sd)
    f = fixed.shape[1]
    return mean[:f], np.sqrt(np.diag(covariance)[:f]), spreads


def _posterior(won: np.ndarray, design: np.ndarray, prior_sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mode and inverse curvature of a logistic model with normal priors, by Newton's method."""
    from scipy.special import expit

    mode = np.zeros(design.shape[1])
    for _ in range(50):
        p = expit(design @ mode)
        curvature = (design.T * (p * (1 - p))) @ design + np.diag(prior_sd**-2.0)
        step = np.linalg.solve(curvature, design.T @ (won - p) - mode / prior_sd**2)
        mode += step
        if np.abs(step).max() < 1e-8:
            break
    return mode, np.linalg.inv(curvature)


def bradley_terry(answers: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Abilities of variants from their decided comparisons (Bradley and Terry 1952; fitted as in Hunter 2004).

    Returns
    -------
    One row a variant, the best first: variant, ability (log-odds against the average variant), ci_low, ci_high
    (bootstrap over participants), wins, comparisons, unbounded (share of resamples without a finite
    solution, left out of the interval), source.

    Raises
    ------
    ValueError : some variants never beat the others, or were never compared with them, so that no finite abilities fit.
    """
    wins = decided(answers)
    if wins.empty:
        raise ValueError("no decided answers: nobody preferred a clip, or everybody was left out.")
    names = sorted({*wins["first"], *wins["second"]})
    number = {name: k for k, name in enumerate(names)}
    winner = wins["preferred"].map(number).to_numpy()
    loser = np.where(wins["preferred"] == wins["first"], wins["second"], wins["first"])
    people = np.unique(wins["participant"], return_inverse=True)[1]
    counts = np.zeros((people.max(initial=-1) + 1, len(names), len(names)))
    np.add.at(counts, (people, winner, pd.Series(loser).map(number).to_numpy()), 1)
    ability = _abilities(counts.sum(0))
    if ability is None:
        raise ValueError(
            f"the abilities of {', '.join(names)} are not finite: some of these variants never won against the "
            "others. Ask more participants, or leave out the variant that always or never wins."
        )
    rng = np.random.default_rng(seed)
    drawn = [_abilities(counts[rng.integers(0, len(counts), len(counts))].sum(0)) for _ in range(N_DRAWS)]
    finite = np.array([one for one in drawn if one is not None])
    low, high = np.quantile(finite, ENDS, axis=0) if len(finite) else np.full((2, len(names)), np.nan)
    total = counts.sum(0)
    table = pd.DataFrame({"variant": names, "ability": ability, "ci_low": low, "ci_high": high})
    table = table.assign(wins=total.sum(1).astype(int), comparisons=(total + total.T).sum(1).astype(int))
    table = table.assign(unbounded=1 - len(finite) / N_DRAWS, source=source_of(answers))
    return table.sort_values("ability", ascending=False, ignore_index=True)


def _abilities(wins: np.ndarray) -> np.ndarray | None:
    """Log abilities (k,), mean 0, from wins[i, j] of i over j, by Hunter's MM steps; None if not finite."""
    from scipy.sparse.csgraph import connected_components

    if len(wins) < 2 or connected_components(wins > 0, connection="strong")[0] > 1:
        return None
    played = wins + wins.T
    strength = np.ones(len(wins))
    for _ in range(MAX_STEPS):
        before = strength
        strength = wins.sum(1) / (played / (strength[:, None] + strength)).sum(1)
        strength /= np.exp(np.log(strength).mean())
        if np.abs(np.log(strength / before)).max() < 1e-8:
            break
    return np.log(strength)
