import logging
import re

import pytest
from composing import composed
from covidx_tree import good_covidx4
from mask_trees import disc, lung_tree, masks_tree, save_png

from evax.commands.prepare import prepare
from evax.config import ConfigError
from evax.data.pack import Pack
from evax.data.prepare import prepare as make_pack
from evax.data.sources.phantom import PhantomSource


@pytest.fixture
def packs(tmp_path):
    """Two packs of 12 phantoms, of which at least one each is in test."""
    for seed, name in enumerate(("one", "two")):
        make_pack(
            PhantomSource(num_films=12, seed=seed, size=64, films_per_patient=1), tmp_path / name, size=64, workers=0
        )
    return tmp_path


def test_data_without_a_source_is_only_counted(packs, caplog):
    before = sorted(packs.rglob("*"))
    words = "data.sources=[one]", "data.test_sets=[one/official/test]", f"paths.packs={packs}"
    with caplog.at_level(logging.INFO):
        prepare(composed("data=merged520k", *words, root="prepare"))
    assert "films for pre-training (one " in caplog.text
    assert "of patients of phantom/official/test; mean 0." in caplog.text
    assert sorted(packs.rglob("*")) == sorted([*before, packs / "near_duplicates.csv"])
    assert "pairs of two patients' films look alike, 0 of them in two splits" in caplog.text


def prepared(data, tmp_path, *words):
    words = f"raw_dir={tmp_path / 'raw'}", f"paths.packs={tmp_path}", "size=64", "workers=1", *words
    prepare(composed(f"data={data}", *words, root="prepare"))
    return Pack(tmp_path / data)


def test_films_of_ones_own_and_their_table_from_the_command_line(tmp_path):
    good_covidx4(tmp_path / "raw").write()
    rows = [f"{path.name};{number};1" for number, path in enumerate(sorted((tmp_path / "raw").rglob("*.png")))]
    (tmp_path / "raw/films.csv").write_text("\n".join(["file;pid;Edema", *rows]))
    columns = "source.columns.image=file", "source.columns.patient=pid", "source.columns.labels=[Edema]"
    pack = prepared("folder", tmp_path, "source.table=films.csv", *columns)
    assert (len(pack), pack.findings, pack.labels.sum()) == (10, ("Edema",), 10)


def test_a_misspelt_column_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^source\.columns\.patients: no such key; did you mean 'patient'"):
        prepared("folder", tmp_path, "+source.columns.patients=pid")


def test_films_of_covidx_keep_the_middle(tmp_path):
    good_covidx4(tmp_path / "raw").write()
    pack = prepared("covidx4", tmp_path)
    assert (len(pack), pack.manifest.fit, pack.schemes) == (10, "crop", ("official", "published"))


def test_values_of_masks_are_said_with_their_shares(tmp_path, caplog):
    masks_tree(tmp_path / "raw")
    for number in range(10):
        save_png(tmp_path / f"raw/lesions/film {number}.png", disc(80, 100, 0))
    with caplog.at_level(logging.INFO):
        prepared("masks", tmp_path, "data.masks.mask=lungs", "+data.masks.classes.lung=[1]")
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("mask ")]
    assert said[0] == "mask lesions: 0 (100.0 %) of the pixels; 10 of 10 images show nothing"
    assert said[1] == "mask lesions shows no shape: it is 0 on all pixels of all images; nothing can be learned from it"
    assert re.fullmatch(r"mask lungs: 0 \(\d+\.\d %\), 1 \(\d+\.\d %\), 2 \(\d+\.\d %\) of the pixels", said[2])
    assert re.fullmatch(
        r"mask lungs: no class has 2 \(.* %\); training stops until data\.masks\.classes or .*", said[3]
    )
    assert len(said) == 4


def test_masks_whose_values_are_known_are_not_warned_of(tmp_path, caplog):
    lung_tree(tmp_path / "raw")
    with caplog.at_level(logging.WARNING):
        prepared("lung", tmp_path)
    assert "mask" not in caplog.text
