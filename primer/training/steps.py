"""Training by batches: Adam, a rate that warms up, checkpoints that are always of a good model.

For any model that is a dict of arrays and a function (P, rng) -> losses, gradients.
"""
import zipfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from primer import ch14_bert_layers as layers
from primer.formats.files import replaced


def train(P, step, steps, rate=1e-3, warmup=0.1, betas=(0.9, 0.98), decay=0.01, largest=1.0, seed=0,
          file=None, every=100, ops=None):
    """`steps` times step(P, rng), rng seeded by (seed, number), then Adam, P in place  ->  history
    (steps, losses).  warmup: share of the steps; file: a checkpoint, from which a run goes on.

    Every so many steps the state is kept, once its loss has proved finite.  A loss, gradient or
    number of P that is not finite raises ValueError; then, as after an interrupt or any other stop,
    P and the file are what was kept last.
    """
    ops = ops or layers
    state, history, first, kept = layers.adam_state(P), [], 0, None
    if file is not None and Path(file).exists():
        first, history = restore(P, state, file)
    bar = tqdm(range(first, steps), "training", steps, initial=first, disable=None, unit=" steps")
    try:
        for number in bar:
            losses, grads = step(P, np.random.default_rng([seed, number]))
            norm = layers.clip_norm(grads, largest)
            if not np.isfinite([*losses, norm]).all():
                raise diverged(f"its losses are {losses}", number, rate, kept)
            if (number - first) % every == 0:
                kept = snapshot(number, P, state, history)
                store(kept, file)
            now = layers.warmup_rate(number + 1, steps + 1, rate, warmup * steps)
            ops.adam_step(P, grads, state, now, betas, decay=decay)
            history.append(losses)
            bar.set_postfix_str(", ".join(f"{x:.3f}" for x in losses), refresh=False)
        if not all(np.isfinite(x).all() for x in P.values()):
            raise diverged("the model holds NaN or infinity", steps, rate, kept)
    except BaseException:                                # an interrupt may come within a step
        for name, own in (kept[1] if kept else {}).items():
            P[name][...] = own
        raise
    store(snapshot(steps, P, state, history), file)
    return np.array(history)


def diverged(words, number, rate, kept):
    """The error of a run that grows without bound  ->  ValueError."""
    there = f"as after step {kept[0]}" if kept else "as it was"
    return ValueError(f"rate: with {rate} training stops at step {number + 1}: {words}; take less. "
                      f"The model is {there}")


def snapshot(number, P, state, history):
    """Copies  ->  number, P, m, v (dicts), history."""
    return number, *({k: x.copy() for k, x in arrays.items()} for arrays in (
        P, state["m"], state["v"])), np.array(history)


def store(kept, file):
    """Write a snapshot, to the side first, so that the one before stays if this fails."""
    if file is None:
        return
    with replaced(file) as out:
        np.savez(out, number=kept[0], history=kept[4], **{
            f"{part}/{k}": x for part, arrays in zip("Pmv", kept[1:4], strict=True)
            for k, x in arrays.items()})


def restore(P, state, file):
    """Fill P and Adam's state from a checkpoint  ->  steps done, history: a list.

    Raises ValueError if it is of another model, or no whole checkpoint.
    """
    try:
        with open(file, "rb") as raw, np.load(raw, allow_pickle=False) as stored:
            found = {k: stored[k] for k in stored.files}
    except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
        raise ValueError(f"file: {file} is no whole checkpoint ({error}); delete it to begin "
                         "anew") from error
    parts = {f"{part}/{k}": x for part, arrays in zip("Pmv", (P, state["m"], state["v"]),
                                                      strict=True) for k, x in arrays.items()}
    if {k: found[k].shape for k in found if "/" in k} != {k: x.shape for k, x in parts.items()}:
        raise ValueError(f"file: {file} is the checkpoint of another model; choose another name")
    for k, x in parts.items():
        x[...] = found[k]
    state["t"] = int(found["number"])
    return state["t"], found["history"].tolist()
