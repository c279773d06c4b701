import cv2
import numpy as np
import pytest

from evax.data.likeness import MAX_FINE, likeness, look_alikes, near_duplicates


def hashes(images):
    found = [likeness(image) for image in images]
    coarse = np.array([int.from_bytes(each[:8]) for each in found], np.uint64)
    return coarse, np.array([list(each[8:]) for each in found], np.uint8)


def smooth(seed, size=128):
    """A film of soft shapes."""
    noise = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), size / 12)
    return cv2.normalize(soft, None, 10, 240, cv2.NORM_MINMAX).astype(np.uint8)


def reencoded(image, quality=60):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def random_hashes(count, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 2**64, count, np.uint64), random.integers(0, 256, (count, 32), np.uint8)


def flipped(fine, count):
    bits = np.unpackbits(fine)
    bits[:count] ^= 1
    return np.packbits(bits)


def test_copies_are_found_and_others_are_not():
    films = [smooth(seed) for seed in range(12)]
    resized = cv2.resize(cv2.resize(films[5], (96, 96)), (128, 128))
    pairs = near_duplicates(*hashes([*films, reencoded(films[3]), resized]))
    assert pairs.tolist() == [[3, 12], [5, 13]]


def test_the_negative_is_another_film():
    assert not len(near_duplicates(*hashes([smooth(1), 255 - smooth(1)])))


@pytest.mark.parametrize(("coarse_bits", "fine_bits", "found"), [(1, MAX_FINE, 1), (2, 0, 0), (0, MAX_FINE + 1, 0)])
def test_few_bits_may_differ(coarse_bits, fine_bits, found):
    coarse, fine = random_hashes(500)
    coarse[400] = coarse[7] ^ np.uint64(2**coarse_bits - 1)
    fine[400] = flipped(fine[7], fine_bits)
    assert near_duplicates(coarse, fine).tolist() == [[7, 400]] * found


def test_every_coarse_bit_may_be_the_one():
    coarse, fine = (np.repeat(values, 65, axis=0) for values in random_hashes(1))
    coarse[1:] ^= np.uint64(1) << np.arange(64, dtype=np.uint64)
    found = near_duplicates(coarse, fine)
    assert found[found[:, 0] == 0].tolist() == [[0, row] for row in range(1, 65)]
    assert len(found) == 64  # two of the others differ in two bits


def test_several_copies_make_all_pairs():
    coarse, fine = (np.repeat(values, 3, axis=0) for values in random_hashes(1))
    assert near_duplicates(coarse, fine).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_only_other_pixels_of_another_patient_are_told():
    coarse, fine = (np.repeat(values, 4, axis=0) for values in random_hashes(1))
    keys = {"patient": np.array([1, 1, 2, 3], np.uint64), "pixel": np.array([5, 6, 5, 7], np.uint64)}
    # 0 and 1 are of one patient, 0 and 2 have the same pixels
    assert look_alikes(keys, coarse, fine).tolist() == [[0, 3], [1, 2], [1, 3], [2, 3]]


@pytest.mark.data
def test_real_films_are_told_apart_and_their_copies_found(shared_data):
    paths = sorted((shared_data / "nih_cxr14_sample/images").glob("*.png"))[:120]
    films = [cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (336, 336)) for path in paths]
    copies = [cv2.resize(reencoded(cv2.resize(film, (300, 300)), 75), (336, 336)) for film in films]
    pairs = near_duplicates(*hashes([*films, *copies]))
    apart = pairs[:, 1] - pairs[:, 0] != len(films)
    assert not apart.any()
    assert len(pairs) >= 0.95 * len(films)
