"""What training does to its films."""

from evax.data.paired import PairedAugment, Photometric
from evax.data.randaugment import RandAugmentFilm
from evax.data.transforms import Augment, Crop, InTurn, RandomCropFlip


def augmentation(
    size: int, crop: Crop, randaugment: str | None, photometric: Photometric | None, *, augment: bool, paired: bool
) -> Augment | PairedAugment | None:
    """Crop and flip of films to (size, size), and what else was chosen; `paired` films have their masks with them.

    None where films are to be read as evaluation reads them.
    """
    if randaugment and not augment:
        raise ValueError(f"data.augment=false leaves nothing to data.randaugment={randaugment}; set that to null")
    if paired and randaugment:
        raise ValueError(f"data.randaugment={randaugment} moves films and not their masks; set it to null")
    if not augment:
        return None
    if paired:
        return PairedAugment(size, crop, photometric)
    steps: list[Augment] = [RandAugmentFilm(randaugment)] if randaugment else []
    steps += [photometric] if photometric else []
    crop_flip = RandomCropFlip(size, crop)
    return InTurn(crop_flip, *steps) if steps else crop_flip
