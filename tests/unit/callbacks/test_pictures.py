import numpy as np
import pytest
from PIL import Image
from tiny import tiny_data, tiny_task, tiny_trainer

from evax.callbacks.pictures import Pictures, Views, draw, views


@pytest.fixture(scope="module")
def synthetic():
    """Two films of 32 pixels on a grid of 4 x 4."""
    rng = np.random.default_rng(0)
    is_masked = rng.random((2, 4, 4)) < 0.4
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    cosine = np.where(is_masked, rng.random((2, 4, 4)), np.nan)
    return Views([12, 305], np.stack([ramp, ramp.T]), is_masked, cosine, rng.random((2, 4, 4, 3)))


def test_draw_gives_a_picture_that_can_be_saved(synthetic, tmp_path):
    draw(synthetic, 1500).savefig(tmp_path / "views.png", dpi=60)
    with Image.open(tmp_path / "views.png") as image:
        width, height = image.size
        assert np.asarray(image.convert("L")).std() > 20
    assert (width, height) == (600, 336)


def test_films_are_labelled_by_row_and_step(synthetic):
    figure = draw(synthetic, 1500)
    texts = [axis.get_ylabel() for axis in figure.axes] + [figure.get_suptitle()]
    assert [text for text in texts if text] == ["pack row 12", "pack row 305", "step 1500"]


def test_hidden_patches_are_grey_and_the_others_are_the_film(synthetic):
    shown = draw(synthetic, 1).axes[1].images[0].get_array()
    hidden = synthetic.is_masked[0].repeat(8, 0).repeat(8, 1)
    assert (shown[hidden] == 128).all()
    assert np.array_equal(shown[~hidden], synthetic.films[0][~hidden])


def test_one_film_is_enough(synthetic):
    assert draw(Views(*(part[:1] for part in synthetic)), 1).axes


def test_views_hold_the_cosine_of_hidden_patches_only(pack_folder):
    data, task = tiny_data(pack_folder), tiny_task().eval()
    seen = views(data, task, 3)
    assert seen.rows == data.rows("val")[:3].tolist()
    assert np.array_equal(seen.films[1], data.pack.image(seen.rows[1]))
    assert np.array_equal(np.isnan(seen.cosine), ~seen.is_masked)
    assert seen.colours.shape == (3, 4, 4, 3)


def test_pictures_are_written_when_due_and_at_the_end(pack_folder, tmp_path):
    callback = Pictures(every_n_epochs=2, num_films=1)
    tiny_trainer(tmp_path, max_epochs=3, callbacks=[callback]).fit(tiny_task(), tiny_data(pack_folder))
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["step-000010.png", "step-000015.png"]
