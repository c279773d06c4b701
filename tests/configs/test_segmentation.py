"""Segmentation experiments say what was published, in both recipes and protocols, and refuse what cannot be."""

import pytest
from composing import CONF, composed

from evax.commands.train.start import train
from evax.config import TRAIN_KEYS, ConfigError, check_config, instantiate
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource
from evax.runs.build import check_films, open_data
from evax.runs.settings import check_protocol, is_segmenter, settled

SETS = ("lung", "siim", "rsna", "shenzhen")
CODE = {"lung": (10, 4), "siim": (50, 8), "rsna": (10, 4), "shenzhen": (50, 8)}  # epochs and batch of the scripts
FILMS = {"lung": 800, "siim": 1868, "rsna": 4236, "shenzhen": 235}  # that train, published
PAPER = {"lung": 4000, "siim": 10_000, "rsna": 10_000, "shenzhen": 4000}  # steps


def official(name, *words):
    cfg = composed(f"experiment={name}", "protocol=official", *words)
    check_config(cfg, TRAIN_KEYS)
    check_protocol(cfg)
    return settled(cfg)


@pytest.mark.parametrize("name", SETS)
def test_recipes_are_those_of_code_and_paper(name):
    code, paper = official(f"segment_{name}_vit_s"), official(f"segment_{name}_vit_s", "recipe=paper")
    assert (code.recipe, paper.recipe) == ("code", "paper")
    assert (code.trainer.max_epochs, code.batch_size) == CODE[name]
    assert (code.optim.lr, paper.optim.lr, paper.batch_size) == (6e-5, 2e-4, 4)
    assert paper.trainer.max_epochs * (FILMS[name] // 4) == pytest.approx(PAPER[name], rel=0.06)
    assert code.data.photometric is not None
    assert paper.data.photometric is None
    for cfg in (code, paper):
        assert (cfg.data.split, cfg.data.select_on, cfg.data.image_size) == ("official", "test", 512)
        assert (cfg.optim.layer_decay, cfg.backbone.drop_path, cfg.model.dropout) == (0.85, 0.15, 0.1)


@pytest.mark.parametrize("name", SETS)
def test_clean_reads_the_split_with_validation_films(name):
    cfg = settled(composed(f"experiment=segment_{name}_vit_s"))
    assert is_segmenter(cfg)
    assert (cfg.data.split, cfg.data.select_on, cfg.recipe) == ("clean", "val", None)


@pytest.mark.parametrize("name", SETS)
def test_a_resnet_is_a_unet_of_one_rate(name):
    cfg = official(f"segment_{name}_r50")
    assert (cfg.model.decoder, cfg.optim.layer_decay, cfg.backbone.name) == ("unet", 1.0, "resnet50")
    assert cfg.data == official(f"segment_{name}_vit_s").data


@pytest.mark.parametrize("name", SETS)
def test_the_paper_trains_a_resnet_by_sgd(name):
    words = (f"segment_{name}_r50", "recipe=paper")
    with pytest.raises(ConfigError, match=r"recipe=paper: the paper trains a U-Net by SGD.*say optim=sgd, too"):
        official(*words)
    cfg, vit = official(*words, "optim=sgd"), official(f"segment_{name}_vit_s", "recipe=paper")
    recipe = instantiate(cfg.optim)
    assert (recipe.lr, recipe.weight_decay, recipe.layer_decay, recipe.warmup_steps) == (0.01, 5e-4, 1.0, 10)
    assert (cfg.batch_size, cfg.trainer.max_epochs, cfg.data) == (4, vit.trainer.max_epochs, vit.data)
    by_hand = ("backbone=resnet50_imagenet", "backbone.drop_path=0", "model.decoder=unet", "optim=sgd")
    assert official(f"segment_{name}_vit_s", "recipe=paper", *by_hand).optim.lr == 0.01
    with pytest.raises(ConfigError, match="say optim=segment, too"):
        official(f"segment_{name}_vit_s", "recipe=paper", "optim=sgd")


def test_every_recipe_is_of_a_task_with_protocols():
    assert {path.stem for path in (CONF / "recipe" / "task").glob("*.yaml")} == {"paper_classifier", "paper_segmenter"}


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=24, seed=0, size=64), folder, size=64, workers=0)
    return folder


SIDES = ["~data.masks.classes.lung", "+data.masks.classes={right: [1], left: [2]}", "model.loss=ce"]
NO_LESION = ["data.masks.mask=lesions", "+data.masks.bits=true", "data.masks.classes.lung=[7]"]  # a bit of no finding


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.masks.classes.lung=[77]"], r"data\.masks\.classes\.lung=\[77\]: no film of .* it has: 0, 1, 2"),
        (["data.masks.classes.lung=[1]"], r"^data\.masks\.classes: no class has 2 \(.* %\) of .*background=\[2\]'"),
        (NO_LESION, r"data\.masks\.mask=lesions: none of the \d+ val films .*shows lung"),
        (SIDES, r"data\.crop\.flip=0\.5: a mirror makes another side of right; set data\.crop\.flip=0"),
        (["per_device_batch=1"], r"per_device_batch=1 and batch_size=8 leave one film on a device, and the BatchNorm"),
        (["data.masks=null"], r"data\.masks=null: segmentation learns from masks"),
        (["model.loss=ce"], r"model\.loss=ce: bce is of one class.*use bce"),
        (["trainer.check_val_every_n_epoch=5"], r"check_val_every_n_epoch=5 is more than trainer\.max_epochs=3"),
        (["data.fit_on=[train,val]"], r"data\.fit_on holds val, on which protocol=clean chooses"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_step(words, message, pack, tmp_path):
    small = ["image_size=64", "data.fraction=1.0", "trainer.accelerator=cpu", f"data.pack={pack}"]
    with pytest.raises(Exception, match=message):
        train(composed("experiment=demo_segment", *small, *words), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_run_that_has_begun_is_told_what_it_cannot_change(pack, caplog):
    words = ["data.masks.classes.lung=[1]", "data.fraction=1.0", "trainer.accelerator=cpu", "image_size=64"]
    cfg = settled(composed("experiment=demo_segment", f"data.pack={pack}", *words))
    check_films(cfg, open_data(cfg), has_begun=True)
    assert "data.masks.classes: no class has 2 (" in caplog.text


def test_the_narrow_experiments_build_what_they_say(pack):
    cfg = composed("experiment=demo_segment", f"data.pack={pack}", "image_size=64")
    task = instantiate(cfg.model, classes=["lung"])
    assert (task.facts.decoder, task.facts.channels, task.facts.taps) == ("upernet", 64, "last")
