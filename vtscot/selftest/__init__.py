"""Measures the verifier: plants errors of known kinds into good episodes and counts those that are noticed."""

from vtscot.selftest.measure import cases, judge, plant_all

__all__ = ["cases", "judge", "plant_all"]
