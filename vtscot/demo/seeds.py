"""Randomness by name: every draw of the demo comes from (version, seed, video number, purpose) and nothing else."""

from __future__ import annotations

import hashlib

import numpy as np

VERSION = 1
"""Raise it with any change that alters a byte of the written tree; an older tree is then written anew."""


def rng_for(seed: int, number: int, what: str) -> np.random.Generator:
    """The generator of one purpose in one video. Streams of different purposes are independent."""
    name = f"vtscot-demo/{VERSION}/{seed}/{number}/{what}"
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
