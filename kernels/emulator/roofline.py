"""How fast a kernel could be at best: the bytes that it must move, or the sums that it must do.

    seconds, why = bound(bytes=0.8e9, flops=0.1e9, device="T4")        # 0.0025, "memory"

A device that did nothing but load and store, at its full bandwidth, would need bytes / bandwidth;
one that did nothing but multiply and add, flops / peak. A kernel does both at the same time, and
is no faster than the slower of the two. Few kernels reach even half of it, and below about five
microseconds the launch itself takes longer. Bytes that the L2 cache keeps move faster than this.
"""
from typing import NamedTuple


class Device(NamedTuple):
    """Peaks of a GPU at its boost clock. A multiplication with an addition counts as two."""
    bandwidth: float                      # bytes/s of memory
    float32: float                        # operations/s, not on tensor cores
    float64: float
    int32: float
    processors: int                       # SMs
    cache: int                            # bytes of L2


# Peaks follow from units and clock: processors * units in each * 2 * boost clock. Per SM there are
# 64, 64, 128, 128 units for float32; 2, 32, 64, 2 for float64; 64 for int32.
PEAKS = {
    # NVIDIA T4 datasheet: 8.1 TFLOPS, 320 GB/s ("up to"); 2560 cores at 1.59 GHz; deviceQuery:
    # 40 SMs, 4194304 bytes of L2. The card's 70 W often hold it below that clock.
    "T4": Device(320e9, 8.1e12, 0.254e12, 8.1e12, 40, 4 << 20),
    # NVIDIA A100 datasheet, A100 80GB SXM: 2039 GB/s, 19.5 and 9.7 TFLOPS; Ampere whitepaper:
    # 108 SMs, 1.41 GHz, 19.5 TOPS of int32, 40 MB of L2.
    "A100": Device(2039e9, 19.5e12, 9.7e12, 19.5e12, 108, 40 << 20),
    # NVIDIA H100 datasheet, H100 SXM: 3.35 TB/s, 67 and 34 TFLOPS; Hopper whitepaper: 132 SMs,
    # 1.98 GHz, 33.5 TOPS of int32, 50 MB of L2.
    "H100": Device(3350e9, 67e12, 34e12, 33.5e12, 132, 50 << 20),
    # NVIDIA Ada whitepaper, GeForce RTX 4090: 1008 GB/s, 82.6 TFLOPS, 41.3 TOPS of int32, 128 SMs,
    # 2.52 GHz, 72 MB of L2; float64 at 1/64 of float32.
    "RTX 4090": Device(1008e9, 82.6e12, 1.29e12, 41.3e12, 128, 72 << 20),
}


def bound(bytes, flops, device, peak="float32"):
    """The least time that a device needs -> (seconds, "memory" or "compute").

    device is a name in PEAKS or a Device; peak says what is computed: "float32", "float64" or
    "int32". Raises ValueError for a device that is not known.
    """
    if not isinstance(device, Device):
        if device not in PEAKS:
            raise ValueError(f"device: {device!r} is not one of {', '.join(PEAKS)}")
        device = PEAKS[device]
    moving, computing = bytes / device.bandwidth, flops / getattr(device, peak)
    return max(moving, computing), "memory" if moving >= computing else "compute"
