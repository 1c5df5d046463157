"""Each measure against a few lines of numpy that say the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from csam.uncertainty.measures import (
    SampleReducer,
    calibrated_error_probability,
    entropy,
    expected_difference,
    most_probable,
    mutual_information,
)


def samples_of_probabilities(samples=5, slices=3, classes=4, rows=6, columns=7, seed=0, sharpness=3.0):
    logits = sharpness * torch.randn(
        samples, slices, classes, rows, columns, generator=torch.Generator().manual_seed(seed)
    )
    return logits, torch.softmax(logits, 2)


def test_entropy_is_that_of_scipy():
    _, p = samples_of_probabilities()
    np.testing.assert_allclose(entropy(p[0]).numpy(), stats.entropy(p[0].numpy(), axis=1), atol=1e-6)


def test_entropy_is_zero_for_a_certain_pixel_and_ln_k_for_an_even_one():
    certain, even = torch.tensor([1.0, 0, 0, 0]), torch.full((4,), 0.25)
    p = torch.stack([certain, even], 1)[None, :, :, None]
    np.testing.assert_allclose(entropy(p).flatten(), [0, np.log(4)], atol=1e-7)


def test_mutual_information_is_the_mean_divergence_of_the_samples_from_their_mean():
    _, p = samples_of_probabilities(seed=1)
    mean = p.mean(0)
    divergence = np.mean([stats.entropy(one.numpy(), mean.numpy(), axis=1) for one in p], axis=0)
    expected_entropy = torch.stack([entropy(one) for one in p]).mean(0)
    np.testing.assert_allclose(mutual_information(mean, expected_entropy).numpy(), divergence, atol=1e-6)


@settings(max_examples=50)
@given(arrays(np.float32, (3, 1, 4, 2, 2), elements=st.floats(-30, 30, width=32)))
def test_mutual_information_lies_between_zero_and_the_entropy_and_that_below_ln_k(logits):
    p = torch.softmax(torch.from_numpy(logits), 2)
    mean, expected = p.mean(0), torch.stack([entropy(one) for one in p]).mean(0)
    information, total = mutual_information(mean, expected), entropy(mean)
    assert (information >= 0).all()
    assert (information <= total + 1e-6).all()
    assert (total <= np.log(4) + 1e-6).all()


def test_the_most_probable_class_is_the_first_of_the_largest():
    _, p = samples_of_probabilities(seed=2)
    assert torch.equal(most_probable(p[0]), p[0].argmax(1).to(torch.uint8))
    assert not most_probable(torch.full((1, 3, 2, 2), 1 / 3)).any()


def test_the_error_probability_follows_its_map_and_ends_where_it_ends():
    error_map = ((0.1, 0.0), (0.3, 0.4), (0.5, 0.5))
    label = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.2], np.float32)
    found = calibrated_error_probability(label, error_map)
    np.testing.assert_allclose(found, [0, 0, 0.2, 0.4, 0.45, 0.5], atol=1e-6)
    assert found.dtype == np.float32


def test_the_expected_difference_counts_false_positives_and_false_negatives():
    probabilities = torch.tensor([0.3, 0.9, 0.005]).view(1, 1, 1, 3)
    probabilities = torch.cat((1 - probabilities, probabilities), 1)
    found = expected_difference(probabilities, torch.tensor([[[0, 1, 0]]]))
    torch.testing.assert_close(found, torch.tensor([0.3 + 0.1 + 0.005, 0.3 + 0.1]))


def reduced(logits, weights, chunk):
    reducer = SampleReducer(len(logits), logits.shape[1:], weights)
    for number, sample in enumerate(logits):
        for start in range(0, sample.shape[0], chunk):
            some = slice(start, start + chunk)
            reducer.add(number, sample[some], some)
    return reducer


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_the_running_sums_equal_those_over_all_samples_at_once(chunk):
    logits, p = samples_of_probabilities(samples=6)
    weights = torch.rand(6, 7)
    reducer = reduced(logits, weights, chunk)
    torch.testing.assert_close(reducer.mean_probabilities, p.mean(0))
    torch.testing.assert_close(reducer.expected_entropy, torch.stack([entropy(one) for one in p]).mean(0))
    labels = p.argmax(2).numpy()
    for k in range(1, 4):
        mask = labels == k
        areas = (mask * weights.numpy()).sum((2, 3))
        np.testing.assert_allclose(reducer.areas[:, :, k], areas, rtol=1e-5)


def test_the_running_sums_take_no_more_memory_for_more_samples():
    def image_elements(samples):
        reducer = SampleReducer(samples, (3, 4, 16, 16), torch.ones(16, 16))
        return sum(v.numel() for v in vars(reducer).values() if isinstance(v, torch.Tensor))

    assert image_elements(2) == image_elements(1000)
