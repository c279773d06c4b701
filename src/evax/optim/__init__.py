"""Parameter groups, schedules and the recipe that joins them."""

from evax.optim.recipe import AdamWCosine

__all__ = ["AdamWCosine"]
