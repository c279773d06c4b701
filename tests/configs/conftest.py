"""Packs that every experiment can take a step on."""

from pathlib import Path

import pytest
from relabelled_phantoms import MaskedPhantoms, RelabelledPhantoms

from evax.data.findings import CHEXPERT, COVIDX3, COVIDX4, CXR14
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource

MASKS = {  # of the packs with masks
    "lung": ("lung",),
    "siim": ("pneumothorax", "pneumothorax_last"),
    "rsna": ("pneumonia", "pneumonia_last"),
    "shenzhen": ("tuberculosis",),
    "covid_masks": ("lungs",),
}


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory) -> Path:
    """24 phantom films of 64 pixels."""
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=24, seed=0, size=64), folder, size=64, workers=0)
    return folder


@pytest.fixture(scope="session")
def tiny_packs(tmp_path_factory) -> dict[str, Path]:
    """The same with the classes or masks of the data sets that have others."""
    folder = tmp_path_factory.mktemp("packs")
    for name, findings in (("cxr14", CXR14), ("chexpert", CHEXPERT), ("covidx3", COVIDX3), ("covidx4", COVIDX4)):
        source = RelabelledPhantoms(findings, exclusive=name.startswith("covidx"), num_films=24, size=64)
        prepare(source, folder / name, size=64, workers=0)
    for name, masks in MASKS.items():
        prepare(MaskedPhantoms(masks, num_films=24, size=64), folder / name, size=64, workers=0)
    return {path.name: path for path in folder.iterdir()}
