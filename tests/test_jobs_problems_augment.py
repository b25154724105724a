"""The batched augmentation equals one image after the other, done slowly."""

import numpy as np
import pytest
import torch

from jobs.problems.augment import augment
from jobs.problems.randomness import HIGHEST, LOWEST, Jitter, Streams
from jobs.problems.replay import Replay


def slowly(image, jitter, i):
    """One image (3, 32, 32) of bytes, by loops and float32, as Pillow 6 would."""
    padded = np.zeros((3, 36, 36), dtype=np.uint8)
    padded[:, 2:34, 2:34] = image
    top, left = jitter.top[i], jitter.left[i]
    pixels = padded[:, top : top + 32, left : left + 32]
    if jitter.flip[i]:
        pixels = pixels[:, :, ::-1]
    for which in jitter.order[i]:
        red, green, blue = pixels.astype(int)
        grey = (19595 * red + 38470 * green + 7471 * blue) >> 16
        target = [np.zeros_like(grey), np.full_like(grey, int(grey.mean() + 0.5)), grey][which]
        factor = jitter.factors[i, which]
        mixed = target.astype(np.float32) + factor * (pixels.astype(int) - target).astype(
            np.float32
        )
        pixels = np.clip(mixed, 0, 255).astype(np.uint8)  # cuts off
    return pixels


@pytest.mark.parametrize("randomness", [Streams, Replay])
def test_a_batch_is_augmented_as_its_images_would_be(randomness):
    jitter = randomness(3).jitter("train", 1, 0, 64)
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    images[:8] = 255  # saturated
    batched = augment(torch.from_numpy(images), jitter).numpy()
    assert batched.dtype == np.uint8
    for i in range(64):
        assert np.array_equal(batched[i], slowly(images[i], jitter, i))


def test_without_changes_an_image_stays_as_it_is():
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator())
    still = Jitter(
        top=np.array([2, 2]),
        left=np.array([2, 2]),
        flip=np.array([False, False]),
        factors=np.ones((2, 3), dtype=np.float32),
        order=np.array([[0, 1, 2], [2, 0, 1]]),
    )
    assert torch.equal(augment(images, still), images)


@pytest.mark.parametrize("randomness", [Streams, Replay])
def test_the_choices_have_the_ranges_and_chances_of_deepobs(randomness):
    jitter = randomness(1).jitter("train", 1, 0, 6000)
    for place in (jitter.top, jitter.left):
        counts = np.bincount(place, minlength=5)
        assert len(counts) == 5
        assert np.abs(counts / 6000 - 0.2).max() < 0.03
    assert abs(jitter.flip.mean() - 0.5) < 0.03
    assert np.all(jitter.factors >= np.float32(LOWEST))
    assert np.all(jitter.factors <= np.float32(HIGHEST))
    assert np.allclose(jitter.factors.mean(axis=0), 1.0, atol=0.03)
    orders, counts = np.unique(jitter.order, axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.abs(counts / 6000 - 1 / 6).max() < 0.03
