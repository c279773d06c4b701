"""The rivals of `conf/backbone`: what each file says is so, and a small one of its kind takes a step."""

import math

import pytest
from composing import CONF, composed
from omegaconf import OmegaConf
from tiny import tiny_data, tiny_trainer

from evax.backbones.drop_path import GlobalDropPath
from evax.backbones.foreign import is_cnn
from evax.checkpoints.published import PUBLISHED
from evax.commands.evaluate.baselines import entries
from evax.config import instantiate
from evax.data.labels import LabelPolicy
from evax.report.baselines import read_baselines

ROWS = {row.backbone: row for row in read_baselines()}
RIVALS = [name for name in ROWS if not name.startswith("eva_x")]
VIT = ["+backbone.model_kwargs.depth=2", "+backbone.model_kwargs.embed_dim=64", "+backbone.model_kwargs.num_heads=2"]
SMALL = {
    "resnet50": ["+backbone.model_kwargs.layers=[1,1,1,1]", "+backbone.model_kwargs.channels=[8,8,8,8]"],
    "densenet121": ["+backbone.model_kwargs.block_config=[1,1,1,1]"],
}


def cfg(name, *overrides):
    return composed("experiment=demo_finetune", f"backbone={name}", *overrides)


def test_the_table_has_every_file():
    files = {path.stem for path in (CONF / "backbone").glob("*.yaml")} - {"eva_x", "timm"}
    assert files == set(ROWS)
    assert len(ROWS) == len(read_baselines())


@pytest.mark.parametrize("name", RIVALS)
def test_its_facts_are_those_of_the_published_file(name):
    node, entry = cfg(name).backbone, entries()[name]
    assert (node.published, node.name) == (entry.name, entry.backbone)
    assert (tuple(node.mean), tuple(node.std)) == tuple(entry.normalisation)
    assert [each.name for each in PUBLISHED].count(node.published) == 1


@pytest.mark.parametrize("name", RIVALS)
def test_its_comment_has_the_papers_number_and_the_file(name):
    text = (CONF / "backbone" / f"{name}.yaml").read_text().replace("\n# ", " ")
    assert entries()[name].file in text
    assert (f"mAUC {ROWS[name].mauc:.1f}" if ROWS[name].mauc else "Not in the paper") in text


@pytest.mark.parametrize("name", RIVALS)
def test_a_small_one_takes_a_step(name, tiny_pack, tmp_path):
    plain = cfg(name).backbone
    small = SMALL.get(plain.name, VIT)
    size = 112 if name == "vit_base_rad_dino" else 64  # patches of 14 pixels
    drop_path = 0.0 if plain.name == "densenet121" else 0.2
    words = (f"image_size={size}", f"backbone.drop_path={drop_path}", "model.classes=[]", *small)
    data = tiny_data(tiny_pack, masking=None, labels=LabelPolicy(), image_size=size, batch_size=4)
    decay = 1.0 if is_cnn(plain.name) else 0.55
    node = cfg(name, *words, f"optim.layer_decay={decay}", "optim.warmup_epochs=0.0").model
    task = instantiate(node, classes=list(data.classes))
    trainer = tiny_trainer(tmp_path, precision="bf16-mixed", limit_train_batches=1, limit_val_batches=1)
    trainer.fit(task, data)
    assert math.isfinite(task.latest["train/loss"])
    drops = [module for module in task.modules() if isinstance(module, GlobalDropPath)]
    assert bool(drops) == (drop_path > 0)
    assert all(len(module.factors) == 4 for module in drops)


@pytest.mark.parametrize("sweep", ["baselines", "rivals"])
def test_a_sweep_gives_each_the_settings_of_its_kind(sweep):
    names = OmegaConf.load(CONF / "sweep" / f"{sweep}.yaml").hydra.sweeper.params.backbone.replace(" ", "").split(",")
    assert set(names) == {name for name in RIVALS if (ROWS[name].mauc is None) == (sweep == "rivals")}
    for name in names:
        job = composed("experiment=finetune_cxr14_vit_s", f"backbone={name}", f"sweep={sweep}")
        is_slow = not is_cnn(job.backbone.name)
        assert (job.optim.layer_decay, job.backbone.drop_path) == ((0.55, 0.2) if is_slow else (1.0, 0.0))
        assert (job.optim.lr, job.optim.final_lr, job.trainer.max_epochs) == (2.5e-4, 1e-5, 75)
        expected = 0.49185243 if "eva02" in name else 0.5056
        own = entries()[name].normalisation.mean[0]
        assert job.backbone.mean[0] == pytest.approx(expected if sweep == "baselines" else own)
