"""From public data sets to batches: sources, packs, samples; no models."""
