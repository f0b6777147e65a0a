"""A long run in small blocks: progress, checkpoints, and going on after an interruption.

A job's arrays are changed in place by its step, block after block, epoch after epoch.  What a step
draws comes from (seed, epoch, block) alone, so that a run that goes on from a checkpoint takes the
steps that it would have taken: with one thread the result is the same bit for bit.
"""
import json
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from primer.formats.files import replaced


@dataclass
class Job:
    """arrays: dict name: array; sizes: what each block of an epoch counts on the progress bar;
    step(epoch, block, rng) changes the arrays -> sum of losses, number of predictions."""

    arrays: dict
    sizes: list
    step: Callable
    epochs: int
    unit: str = " words"


class Interrupted(KeyboardInterrupt):
    """The run stopped between two blocks, its checkpoint written."""


class Stop:
    """Ctrl-C or a request to end asks to stop after the block; the second Ctrl-C stops at once."""

    asked = False

    def __call__(self, number, frame):
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this block ...", file=sys.stderr, flush=True)

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {n: signal.signal(n, self) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in getattr(self, "before", {}).items():
            signal.signal(number, handler)


def run(job, folder, seed, every=300.0, keep=True):
    """Run a job from its folder's checkpoint, if there is one, to its end  ->  history (epochs,).

    A checkpoint is written every so many seconds, when asked to stop, and, until the result has a
    file of its own, at the end; `history` is the mean loss of each epoch, as it went.  A checkpoint
    that cannot be written in between is only told of.  Raises Interrupted when asked to stop,
    ValueError if the loss is not finite.
    """
    file = Path(folder) / "checkpoint.npz"
    epoch, block, sums = restore(job, file)
    total, saved, loss = sum(job.sizes), time.monotonic(), math.nan
    done = epoch * total + sum(job.sizes[:block])
    with Stop() as stop, tqdm(total=job.epochs * total, initial=done, unit=job.unit, leave=False,
                              unit_scale=True, desc="training", disable=None) as bar:
        while epoch < job.epochs:
            losses, n = job.step(epoch, block, np.random.default_rng([seed, epoch, block]))
            if not math.isfinite(losses):
                raise ValueError(f"--lr: after block {block + 1} of epoch {epoch + 1} the loss is "
                                 f"{losses}: the vectors grow without bound; take less")
            sums[epoch] += losses, n
            if n:
                loss = losses / n if math.isnan(loss) else 0.9 * loss + 0.1 * losses / n
            bar.set_postfix_str(f"epoch {epoch + 1}/{job.epochs}, loss {loss:.4f}", refresh=False)
            bar.update(job.sizes[block])
            block += 1
            if block == len(job.sizes):
                if not sums[epoch, 1]:
                    raise ValueError("--corpus: no word has a neighbour; lines of two words or "
                                     "more are needed, and --sample 0 keeps all words")
                epoch, block = epoch + 1, 0
            ended = keep and epoch == job.epochs
            if stop.asked or ended or time.monotonic() - saved > every:
                checkpoint(job, file, epoch, block, sums, stop.asked or ended)
                saved = time.monotonic()
            if stop.asked and epoch < job.epochs:
                raise Interrupted(f"stopped in epoch {epoch + 1} of {job.epochs}; the same command "
                                  f"goes on from {file}")
    return sums[:, 0] / np.maximum(sums[:, 1], 1)


def restore(job, file):
    """Fill a job's arrays from its checkpoint  ->  epoch, block, sums (epochs, 2)."""
    if not file.exists():
        return 0, 0, np.zeros((job.epochs, 2))
    with np.load(file, allow_pickle=False) as stored:
        for name, array in job.arrays.items():
            array[...] = stored[f"array_{name}"]
        epoch, block = stored["place"]
        return int(epoch), int(block), stored["sums"]


def checkpoint(job, file, epoch, block, sums, needed):
    """Write a job's state, to the side first, so that the last checkpoint stays if this fails."""
    try:
        with replaced(file) as out:
            np.savez(out, place=[epoch, block], sums=sums,
                     **{f"array_{name}": array for name, array in job.arrays.items()})
    except OSError as error:
        words = f"{file}: the checkpoint could not be written ({error.strerror or error})"
        if needed:
            raise OSError(f"{words}; make room and run the same command again") from error
        tqdm.write(f"{words}; training goes on", file=sys.stderr)


def claim(folder, settings):
    """Make a run's folder, or take up one that has the same settings.

    Raises ValueError, which names what differs, if it has another run's checkpoint.
    """
    file = folder / "settings.json"
    if file.exists():
        before = json.loads(file.read_text("utf-8"))
        differ = [k for k in {**before, **settings} if before.get(k) != settings.get(k)]
        if not differ:
            return
        if (folder / "checkpoint.npz").exists():
            raise ValueError(f"{folder} holds a run with other settings ({', '.join(differ)}); "
                             "finish it with those, or delete the folder to begin anew")
        release(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not a run's folder; choose another --out, or move it away")
    folder.mkdir(exist_ok=True)
    with replaced(file) as out:
        out.write(json.dumps(settings, indent=1).encode())


def release(folder):
    """Delete a run's folder once its result is written."""
    shutil.rmtree(folder)
