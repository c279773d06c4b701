import json
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tiny import tiny_data
from torch.utils.data import default_collate

from evax.data.labels import LabelPolicy
from evax.data.masks import MaskPolicy
from evax.data.pack import Pack
from evax.data.paired import Photometric
from evax.data.transforms import Crop

LUNG = MaskPolicy("lungs", {"lung": [1, 2]})
SIDES = MaskPolicy("lungs", {"left": [2], "right": [1]})
WHOLE = Crop(min_area=1.0, min_ratio=1.0, max_ratio=1.0, interpolation="bilinear")


def segmented(pack_folder, **settings):
    return tiny_data(pack_folder, **({"masking": None, "masks": LUNG} | settings))


def test_values_become_classes_in_their_order():
    stored = np.array([[0, 1, 2, 3]], np.uint8)
    assert LUNG(stored).tolist() == [[0, 1, 1, 0]]
    assert SIDES(stored).tolist() == [[0, 2, 1, 0]]


def test_bits_become_classes_and_the_first_wins():
    policy = MaskPolicy("lesions", {"mass": [3], "nodule": [0, 7]}, bits=True)
    stored = np.array([[0, 1, 8, 9, 128, 4, 255]], np.uint8)
    assert policy(stored).tolist() == [[0, 2, 1, 1, 2, 0, 1]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": {}}, r"data\.masks\.classes names no class; .*\+data\.masks\.classes\.lung"),
        ({"classes": {"lung": []}}, r"data\.masks\.classes\.lung has no values"),
        ({"classes": {"lung": [0]}}, r"data\.masks\.classes\.lung=0 must be from 1 to 255: .* 0 is background"),
        ({"classes": {"mass": [8]}, "bits": True}, r"data\.masks\.classes\.mass=8 must be from 0 to 7: those are bits"),
        ({"classes": {"a": [1], "b": [2, 1]}}, r"data\.masks\.classes: 1 is in a and in b; leave one out"),
        (
            {"classes": {"a": [1]}, "background": [3, 1]},
            r"data\.masks\.background: 1 is in data\.masks\.classes\.a, too",
        ),
        ({"classes": {"a": [1]}, "bits": True, "background": [3]}, r"data\.masks\.background is of values, and"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        MaskPolicy(mask="lungs", **settings)
    assert "\n" not in str(caught.value)


def test_a_mask_that_the_pack_lacks_is_named_with_those_it_has(pack_folder):
    with pytest.raises(ValueError, match=r"data\.masks\.mask=heart: .* no such mask; it has: lesions, lungs$"):
        segmented(pack_folder, masks=MaskPolicy("heart", {"heart": [1]}))


def test_a_class_that_no_film_shows_is_named_with_what_there_is(pack_folder):
    with pytest.raises(ValueError, match=r"data\.masks\.classes\.lung=\[255\]: no film of .* lungs; it has: 0, 1, 2$"):
        segmented(pack_folder, masks=MaskPolicy("lungs", {"lung": [255]}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": LabelPolicy()}, r"data\.labels and data\.masks are two tasks: set data\.masks=null"),
        ({"resize_to": 96}, r"data\.resize_to=96 leaves out what masks show"),
        ({"randaugment": "rand-m6-mstd0.5-inc1"}, r"data\.randaugment=.* moves films and not their masks"),
        ({"sampling": "balanced"}, r"data\.sampling and data\.shuffle_labels need labels"),
    ],
)
def test_settings_that_masks_rule_out_are_refused(pack_folder, settings, message):
    with pytest.raises(ValueError, match=message):
        segmented(pack_folder, **settings)


@pytest.mark.parametrize(
    "settings",
    [{"masks": SIDES, "crop": Crop(flip=0.0)}, {"masks": SIDES, "fit_on": []}, {"masks": SIDES, "augment": False}, {}],
)
def test_films_of_sides_are_read_where_nothing_is_mirrored(pack_folder, settings):
    assert segmented(pack_folder, **settings).classes in (("left", "right"), ("lung",))


def repacked(pack_folder, tmp_path, change):
    """A pack with the lungs of another, changed, as it was before their pixels were counted."""
    folder = tmp_path / "pack"
    shutil.copytree(pack_folder, folder)
    for path in folder.glob("masks-lungs-*.npy"):
        np.save(path, change(np.load(path)))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["mask_counts"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Pack(folder)


def test_pixels_of_each_value_are_known_of_packs_from_before_they_were_counted(pack_folder, tmp_path):
    pack = Pack(pack_folder)
    masks = np.concatenate([np.load(path) for path in sorted(pack_folder.glob("masks-lungs-*.npy"))])
    counts = {value: int((masks == value).sum()) for value in (0, 1, 2)}
    assert pack.mask_pixels("lungs") == counts
    assert repacked(pack_folder, tmp_path, lambda masks: masks).mask_pixels("lungs") == counts


@pytest.mark.parametrize(
    ("change", "policy", "said"),
    [
        (
            np.asarray,
            MaskPolicy("lungs", {"lung": [1]}),
            r"no class has 2 \(\d+\.\d %\) of the pixels of mask lungs in ",
        ),
        (np.asarray, MaskPolicy("lungs", {"right": [1], "left": [2]}), None),
        (np.asarray, MaskPolicy("lungs", {"lung": [2]}, background=[1]), None),
        (np.asarray, MaskPolicy("lesions", {"mass": [3]}, bits=True), None),
        (np.asarray, MaskPolicy("lungs", {"lung": [1]}, background=[9, 3]), r"background=\[2,3,9\]'"),
        (
            lambda masks: masks * 100,
            MaskPolicy("lungs", {"lung": [100]}),
            r"has 200 .*'\+data\.masks\.background=\[200\]'",
        ),
        (
            lambda masks: np.where(masks > 0, 255 - np.arange(masks.shape[2]) % 20, 0).astype(np.uint8),
            MaskPolicy("lungs", {"lung": [255]}),
            r"no class has (\d+ \(.* %\), ){6}13 others \(",
        ),
    ],
)
def test_values_of_no_class_are_named_with_their_share(change, policy, said, pack_folder, tmp_path):
    pack = repacked(pack_folder, tmp_path, change)
    with pytest.raises(ValueError, match=said) if said else nullcontext() as caught:
        policy.check_claimed(pack)
    assert not said or "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_of_one_value_is_nothing_to_learn(value, pack_folder, tmp_path):
    pack = repacked(pack_folder, tmp_path, lambda masks: masks * 0 + np.uint8(value))
    with pytest.raises(
        ValueError, match=rf"mask=lungs: it is {value} on all pixels of all images of .*; prepare the pack"
    ):
        LUNG.check_shown(pack)
    LUNG.check_shown(Pack(pack_folder))


def test_a_mask_that_an_earlier_pack_has_lost_is_counted(pack_folder, tmp_path):
    def cover(masks):
        masks[:2] = 1
        return masks

    pack = repacked(pack_folder, tmp_path, cover)
    with pytest.raises(ValueError, match=rf"mask=lungs: 2 of {len(pack)} images of .*; run `prepare\.py` on it again"):
        LUNG.check_shown(pack)


def test_a_class_that_no_film_shows_may_be_scored(pack_folder):
    data = segmented(pack_folder, masks=MaskPolicy("lungs", {"lung": [1, 2], "heart": [3]}), fit_on=[])
    assert data.classes == ("lung", "heart")


def test_without_augmentation_samples_are_the_packs_own(pack_folder):
    data = segmented(pack_folder, masks=SIDES, crop=Crop(flip=0.0))
    films = data.dataset(data.rows("val"))
    batch = next(iter(data.local_loader(films)))
    assert data.classes == ("left", "right")
    assert (batch["mask"].shape, batch["mask"].dtype) == ((8, 1, 64, 64), torch.uint8)
    for place, row in enumerate(batch["row"].tolist()):
        assert np.array_equal(batch["image"][place, 0], data.pack.image(row))
        assert np.array_equal(batch["mask"][place, 0], data.mask_of(row))
        assert np.array_equal(data.mask_of(row), SIDES(data.pack.mask("lungs", row)))
    assert batch["mask"].unique().tolist() == [0, 1, 2]
    assert set(batch) == {"image", "row", "mask"}


def test_other_sizes_keep_the_values(pack_folder):
    data = segmented(pack_folder, masks=SIDES, image_size=48, crop=Crop(flip=0.0))
    sample = data.dataset(data.rows("val"))[0, 0]
    assert sample["mask"].shape == (1, 48, 48)
    assert set(sample["mask"].unique().tolist()) <= {0, 1, 2}


def test_a_batch_is_its_samples_in_every_epoch(pack_folder):
    data = segmented(pack_folder, crop=Crop(), photometric=Photometric())
    films = data.dataset(data.train_rows, augment=True)
    keys = [(0, 3), (2, 1), (0, 9)]
    batch, samples = films.__getitems__(keys), default_collate([films[key] for key in keys])
    assert all(torch.equal(batch[name], samples[name]) for name in ("image", "mask", "row"))
    assert not torch.equal(films[0, 3]["image"], films[1, 3]["image"])


def test_flips_without_a_crop_show_the_whole_film(pack_folder):
    data = segmented(pack_folder, crop=WHOLE)
    films, whole = data.dataset(data.train_rows, augment=True), data.dataset(data.train_rows)
    flips = 0
    for position in range(20):
        sample, plain = films[0, position], whole[0, position]
        is_flipped = not torch.equal(sample["image"], plain["image"])
        flips += is_flipped
        for name in ("image", "mask"):
            assert torch.equal(sample[name].flip(-1) if is_flipped else sample[name], plain[name])
    assert 3 < flips < 17


def test_a_fraction_of_films_with_masks_takes_whole_patients(pack_folder):
    data = segmented(pack_folder, fraction=0.5)
    patients = data.pack.patients
    assert len(set(patients[data.train_rows].tolist())) == 11
    assert set(data.train_rows) < set(segmented(pack_folder).train_rows)


def test_without_augmentation_exposure_stays(pack_folder):
    data = segmented(pack_folder, augment=False, photometric=Photometric())
    trained, seen = data.dataset(data.train_rows, augment=True)[4, 0], data.dataset(data.train_rows)[0, 0]
    assert torch.equal(trained["image"], seen["image"])
