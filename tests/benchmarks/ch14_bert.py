"""A small BERT from scratch on the committed addresses, two threads: is it good in three minutes?

The peer is the unigram model, which knows how frequent each piece is: on hidden pieces of addresses
that neither has seen, ours must have 4 times its right first guesses and a cross-entropy that is
2.2 nats lower, and stay within three minutes.  The numbers stand in the row.
"""
import numba
import numpy as np

from tests.makers.small_bert import STEPS, make

LIMIT, GUESSES, NATS = 180.0, 4.0, 2.2


def rows():
    """One row; ratio: the limit over the seconds of training."""
    model, found, seconds = make()
    far = (found["accuracy"] >= GUESSES * found["unigram_accuracy"]
           and found["cross_entropy"] <= found["unigram_cross_entropy"] - NATS)
    numbers = sum(x.size for x in model.P.values())
    yield {"what": "small BERT from scratch", "peer": "limit, unigram",
           "size": f"{STEPS} steps, {numbers / 1e6:.1f}M", "ours": seconds, "peer_s": LIMIT,
           "ratio": LIMIT / seconds, "bar": 1.0, "reached": far and seconds < LIMIT, **found,
           "versions": {"numpy": np.__version__, "numba": numba.__version__}}
