"""FAD and KAD against closed forms, a reference implementation, and their behaviour at small n."""

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial

from tmp_utils.metrics.distances import (
    equal_n,
    frechet_audio_distance,
    frechet_distance,
    kernel_audio_distance,
    median_distance,
)


def test_frechet_of_two_one_dimensional_gaussians_is_the_closed_form():
    assert frechet_distance(1.0, 4.0, 3.0, 9.0) == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_frechet_of_isotropic_gaussians_is_the_closed_form():
    d, mean = 16, np.arange(16.0)
    value = frechet_distance(mean, 4 * np.eye(d), np.zeros(d), 0.25 * np.eye(d))
    assert value == pytest.approx(mean @ mean + d * (2.0 - 0.5) ** 2)


@pytest.mark.parametrize(("n", "size"), [(200, 12), (9, 32)])
def test_fad_equals_the_textbook_formula_with_scipy_s_matrix_root(n, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, size)) @ rng.normal(size=(size, size))
    y = 0.5 + rng.normal(size=(n + 3, size)) @ rng.normal(size=(size, size))
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(0) - y.mean(0)
    expected = shift @ shift + np.trace(c1 + c2 - 2 * np.real(scipy.linalg.sqrtm(c1 @ c2)))
    tolerance = 1e-6 if n > size else 1e-4  # of singular matrices sqrtm itself is only good to half the digits
    assert frechet_audio_distance(x, y).value == pytest.approx(expected, rel=tolerance)


def test_fad_of_a_set_to_itself_is_zero_and_symmetric():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 8)), rng.normal(size=(40, 8)) + 1
    assert frechet_audio_distance(x, x).value == pytest.approx(0.0, abs=1e-9)
    assert frechet_audio_distance(x, y).value == pytest.approx(frechet_audio_distance(y, x).value)


def test_fad_of_too_few_rows_says_so_and_of_enough_rows_does_not():
    rng = np.random.default_rng(0)
    few = frechet_audio_distance(rng.normal(size=(20, 128)), rng.normal(size=(20, 128)))
    assert few.value > 100  # the true distance is 0
    assert "n = 20 is too small for a covariance of 128 dimensions" in few.note
    assert frechet_audio_distance(rng.normal(size=(50, 8)), rng.normal(size=(50, 8))).note == ""


def test_fad_says_when_the_sets_are_of_unequal_size():
    rng = np.random.default_rng(0)
    distance = frechet_audio_distance(rng.normal(size=(50, 4)), rng.normal(size=(60, 4)))
    assert (distance.n, distance.note) == (50, "unequal n: 50 reference and 60 generated rows")


def kadtk_formula(x, y, width):
    """Return KAD written out with loops, from the paper's equation."""

    def k(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * width**2))

    xx = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    yy = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    return 100 * (np.mean(xx) + np.mean(yy) - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_kad_is_the_papers_equation_with_the_reference_s_median_distance():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(9, 5)) + 0.5
    width = np.median(scipy.spatial.distance.pdist(x))  # 15 distances, one in the middle
    assert kernel_audio_distance(x, y).value == pytest.approx(kadtk_formula(x, y, width), rel=1e-9)


def test_kad_of_one_point_from_two_is_the_closed_form():
    x, y = np.array([[-1.0], [1.0]]), np.array([[0.0], [0.0]])  # the width is 2
    expected = 100 * (np.exp(-0.5) + 1 - 2 * np.exp(-0.125))
    assert kernel_audio_distance(x, y).value == pytest.approx(expected)


def test_kad_is_unbiased_at_five_rows_where_fad_is_mostly_bias():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(5, 16)), rng.normal(size=(5, 16))) for _ in range(1500)]
    kads = np.array([kernel_audio_distance(x, y).value for x, y in pairs])
    assert abs(kads.mean()) < 3 * kads.std() / np.sqrt(len(kads))
    assert (kads < 0).any()
    assert frechet_audio_distance(*pairs[0]).value > 5


def test_the_median_distance_of_an_even_number_is_the_lower_of_the_middle_two():
    assert median_distance(np.array([[0.0], [1.0], [3.0], [7.0]])) == 3.0  # 1 2 3 4 6 7


def test_a_set_of_copies_is_refused():
    with pytest.raises(ValueError, match="copies"):
        kernel_audio_distance(np.ones((4, 2)), np.eye(2))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((3, 4)), np.ones((3, 5)), "one embedder"),
        (np.ones((1, 4)), np.ones((3, 4)), "two rows"),
        (np.full((3, 4), np.nan), np.ones((3, 4)), "NaN"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(x, y, message):
    for distance in (frechet_audio_distance, kernel_audio_distance):
        with pytest.raises(ValueError, match=message):
            distance(x, y)


def test_equal_n_draws_rows_of_either_set_by_its_seed_alone():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(8.0).reshape(4, 2)
    first, again, other = equal_n(x, y, seed=1), equal_n(x, y, seed=1), equal_n(x, y, seed=2)
    assert [len(rows) for rows in first] == [4, 4]
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert len(np.unique(first[0], axis=0)) == 4
    with pytest.raises(ValueError, match="n = 5 rows"):
        equal_n(x, y, n=5)
