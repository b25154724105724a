"""One random stream per purpose: reproducible in any order, independent of each other and of every global generator."""

import hashlib
import json

import numpy as np


def stream(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """The stream of a run's `seed` for one purpose, at one point of the run (epoch, step).

    Streams are counter-based: the stream of epoch 7 does not depend on earlier epochs. Each stream
    is a Philox generator whose 128-bit key is taken from the sha256 of all arguments.
    """
    name = json.dumps([seed, purpose, *counters])
    key = hashlib.sha256(name.encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype="<u8")))
