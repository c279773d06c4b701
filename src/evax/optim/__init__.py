"""Parameter groups, schedules and the recipes that join them."""

from evax.optim.recipe import AdamWCosine, AdamWPolynomial, SGDPolynomial

__all__ = ["AdamWCosine", "AdamWPolynomial", "SGDPolynomial"]
