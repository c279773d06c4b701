import numpy as np
from cxr14_tree import grey
from deadly_source import COUNT, DeadlySource

from evax.data.decoding import Decoder, DecodingPool, digest_pixels
from evax.data.film import Refusal


def test_a_deadly_film_is_refused_and_the_others_arrive():
    films, _ = DeadlySource().films()
    with DecodingPool(Decoder(DeadlySource(), 80, "stretch"), workers=1) as pool:
        decoded = list(pool.decode(films))
    refused = {item.item: item.reason for item in decoded if isinstance(item, Refusal)}
    assert refused == {"20": "crash", "3": "unreadable"}
    np.testing.assert_array_equal(decoded[-1].pixels.image, grey(COUNT - 1))


def test_order_is_kept_without_processes():
    films = [film for film in DeadlySource().films()[0] if film.image_id != "20"]
    with DecodingPool(Decoder(DeadlySource(), 80, "stretch"), workers=0) as pool:
        decoded = list(pool.decode(films[4:8]))
    assert [item.pixel_sha256 for item in decoded] == [digest_pixels(grey(number)) for number in range(4, 8)]


def test_digest_tells_shapes_apart():
    flat = np.arange(12, dtype=np.uint8)
    assert digest_pixels(flat.reshape(3, 4)) != digest_pixels(flat.reshape(4, 3))


class FaultySource(DeadlySource):
    """Fails in a way that no reader foresees."""

    def read(self, film):
        if film.image_id == "7":
            raise RuntimeError("a decoder's own fault")
        return super().read(film)


def test_an_unexpected_fault_is_that_of_its_film():
    films = [film for film in FaultySource().films()[0] if film.image_id != "20"]
    with DecodingPool(Decoder(FaultySource(), 80, "stretch"), workers=0) as pool:
        refused = [item for item in pool.decode(films) if isinstance(item, Refusal)]
    assert refused == [
        ("3", "unreadable", "OSError"),
        ("7", "undecodable", "RuntimeError: a decoder's own fault"),
    ]
