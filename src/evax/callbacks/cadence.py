"""How often a callback acts, stated in epochs."""

from lightning.pytorch import Trainer


class EveryFewEpochs:
    """Due at the validation that ends every `epochs`-th epoch, or at the next one after it, and at the last epoch."""

    def __init__(self, epochs: int, key: str) -> None:
        if epochs < 1:
            raise ValueError(f"{key}={epochs} must be at least 1; ~{key.rpartition('.')[0]} turns the callback off")
        self.epochs = epochs

    def is_due(self, trainer: Trainer) -> bool:
        """To be asked once per validation."""
        epoch = trainer.current_epoch + 1
        before = epoch - (trainer.check_val_every_n_epoch or 1)
        passed = epoch // self.epochs > before // self.epochs
        return not trainer.sanity_checking and (passed or epoch == trainer.max_epochs)
