"""Readers of datasets on disk; see `base` for what a source is, `registry` for those there are."""
