"""JSON Schemas generated from the records by `python -m vtscot.schema`."""
