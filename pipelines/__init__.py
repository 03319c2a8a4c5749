"""Recipes: one YAML per source and per training stage, read by `vtscot.recipe`."""
