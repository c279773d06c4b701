"""Data sets with masks: what their files and the command line make of them."""

import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.config import PREPARE_KEYS, TRAIN_KEYS, check_config, instantiate
from evax.runs.settings import settle_protocol

MASKED = ("lung", "masks", "siim", "rsna", "shenzhen")


@pytest.mark.parametrize("name", MASKED)
def test_download_and_pack_fit_together(name, tmp_path):
    cfg = composed(f"data={name}", f"raw_dir={tmp_path}", root="prepare")
    check_config(cfg, PREPARE_KEYS)
    source = instantiate(cfg.source, raw_dir=tmp_path)
    assert (source.name, cfg.size, cfg.data.pack.rpartition("/")[2]) == (name, 512, name)


@pytest.mark.data
def test_films_of_one_patient_are_told_by_name(shared_data):
    cfg = composed("data=covid_masks", f"raw_dir={shared_data / 'covid_segmentation'}", root="prepare")
    check_config(cfg, PREPARE_KEYS)
    films, refusals = instantiate(cfg.source, raw_dir=shared_data / "covid_segmentation").films()
    assert not refusals
    patients = {film.patient_id: film.splits["clean"] for film in films}
    assert (len(films), len(patients)) == (78, 40)
    assert len({film.image_id for film in films if film.patient_id.startswith("auntminnie")}) == 4
    assert all(film.splits == {"clean": patients[film.patient_id]} for film in films)
    assert min(list(patients.values()).count(split) for split in ("val", "test")) >= 5


@pytest.mark.parametrize("name", ["rsna", "masks"])
def test_training_reads_whole_films(name):
    cfg = composed(f"data={name}")
    check_config(cfg, TRAIN_KEYS)
    crop = instantiate(cfg.data.crop)
    assert (crop.min_area, crop.max_area, crop.min_ratio, crop.max_ratio, crop.flip) == (1, 1, 1, 1, 0.5)
    assert instantiate(cfg.data.photometric).brightness == 32


def test_the_masks_of_ones_own_films_are_told_on_the_command_line():
    cfg = composed("data=masks", "data.masks.mask=lungs", "+data.masks.classes.lung=[1,2]")
    check_config(cfg, TRAIN_KEYS)
    assert instantiate(cfg.data.masks).classes == {"lung": [1, 2]}


def test_masks_of_ones_own_films_must_be_told():
    with pytest.raises(Exception, match=r"data\.masks\.classes names no class"):
        instantiate(composed("data=masks").data.masks)


@pytest.mark.parametrize(("name", "clean"), [("rsna", "pneumonia"), ("siim", "pneumothorax")])
def test_the_official_protocol_reads_the_published_masks(name, clean):
    composition = composed(f"data={name}")
    OmegaConf.set_struct(composition, False)
    assert instantiate(composition.data.masks).name == clean
    for protocol, published, named, mask in (
        ("clean", f"{clean}_last", None, clean),
        ("official", f"{clean}_last", None, f"{clean}_last"),
        ("official", None, None, clean),
        ("official", f"{clean}_last", clean, clean),  # what is named stands
        ("clean", f"{clean}_last", f"{clean}_last", f"{clean}_last"),
    ):
        cfg = composition.copy()
        cfg.protocol, cfg.data.masks.published, cfg.data.masks.mask = protocol, published, named
        settle_protocol(cfg)
        assert instantiate(cfg.data.masks).mask == mask
    assert composition.data.masks.published == f"{clean}_last"
