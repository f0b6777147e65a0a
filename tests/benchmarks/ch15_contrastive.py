"""InfoNCE with its gradient beside torch with autograd, on the same vectors.

B = 4096 queries and positives of d = 256 at unit length, tau = 0.05, float32, two threads.  Torch:
cross_entropy of Q C^T / tau, then backward.  Both losses and gradients agree before anything is
timed.  The second row is memory: what a process of its own holds at its peak beyond what it had
before the call (Linux's count of resident pages), for each side; ratio is theirs over ours.
"""
import importlib.metadata
import statistics
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import torch

from kernels import twin
from primer.ch15_contrastive import unit_vectors
from tests.benchmarks.timing import interleaved

B, D, TAU, THREADS, REPEATS = 4096, 256, 0.05, 2, 9


def vectors(n=B):
    """Queries, and positives near them -> (n, D), (n, D) float32 at unit length."""
    rng = np.random.default_rng(15)
    Q = rng.standard_normal((n, D)).astype(np.float32)
    C = Q + rng.standard_normal((n, D)).astype(np.float32)
    return unit_vectors(Q)[0], unit_vectors(C)[0]


def ours(Q, C):
    return twin("ch15_contrastive", "numba").info_nce_grad(Q, C, TAU)


def theirs(Q, C):
    q, c = (torch.from_numpy(x).requires_grad_() for x in (Q, C))
    loss = torch.nn.functional.cross_entropy(q @ c.T / TAU, torch.arange(len(q)))
    loss.backward()
    return loss.item(), q.grad.numpy(), c.grad.numpy()


def resident(name):
    """VmRSS, what this process holds, or VmHWM, the most that it held -> bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak(function):
    """Bytes that a call takes at its peak, in this process, which ran it on few rows before."""
    set_threads()
    Q, C = vectors()
    function(*vectors(64))
    Path("/proc/self/clear_refs").write_text("5")        # the peak is counted from here
    before = resident("VmRSS")
    function(Q, C)
    return resident("VmHWM") - before


def peak_elsewhere(name):
    """The median of three processes -> bytes."""
    command = f"from tests.benchmarks import ch15_contrastive as b; print(b.peak(b.{name}))"
    return statistics.median(int(subprocess.run(
        [sys.executable, "-c", command], check=True, capture_output=True, text=True,
        cwd=Path(__file__).parents[2]).stdout) for _ in range(3))


def set_threads():
    torch.set_num_threads(THREADS)
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))


def measured(mine, peers, bar, what, **more):
    return {"what": what, "peer": "torch", "size": f"B={B}, d={D}", "ours": mine, "peer_s": peers,
            "ratio": peers / mine, "bar": bar, "reached": peers / mine >= bar, **more,
            "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "torch")}}


def rows():
    """Time, then memory -> dicts."""
    set_threads()
    Q, C = vectors()
    for got, want in zip(ours(Q, C), theirs(Q, C), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-6)
    yield measured(*interleaved(lambda: ours(Q, C), lambda: theirs(Q, C), REPEATS), 2,
                   "InfoNCE and its gradient")
    yield measured(*map(peak_elsewhere, ("ours", "theirs")), 10, "the same: memory", unit="B")
