"""Figures of notebook 0, how to read a kernel: threads, races, sectors, banks, the roofline.

They take numbers that the notebook counts.  `tour` draws them for addresses that it works out.
"""
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle

from primer.figures import (
    BLACK,
    BLUE,
    GREEN,
    HEAT,
    MARKERS,
    ORANGE,
    VERMILION,
    new_figure,
    tidy,
)

WARP, SECTOR, WORD = 32, 32, 4                   # lanes; bytes; bytes
TINTS = ("#BBD7EA", "#FBE3B0", "#B5E2D3", "#F3C9AE", "#EBCFDF")       # of COLOURS


def thread_grid(postings, block, shown=(1, 5)):
    """A launch with a thread a posting: blocks, warps, lanes.  shown: (block, thread) to explain.

    Each cell is a thread and holds its posting; the hatched ones have none.
    """
    blocks, warps = -(-postings // block), -(-block // WARP)
    figure, axes = new_figure(width=10, height=1.5 + 0.42 * blocks * warps)
    y = 0.0
    for b in range(blocks):
        for w in range(warps):
            for lane in range(min(WARP, block - w * WARP)):
                p = b * block + w * WARP + lane
                idle = p >= postings
                axes.add_patch(Rectangle(
                    (lane, y), 1, 1, facecolor="white" if idle else TINTS[b % len(TINTS)],
                    edgecolor="#999999", linewidth=0.6, hatch="////" if idle else None))
                if not idle:
                    axes.text(lane + 0.5, y + 0.5, p, ha="center", va="center", fontsize=7.5)
                if (b, w * WARP + lane) == shown:
                    axes.add_patch(Rectangle((lane, y), 1, 1, fill=False, edgecolor=BLACK,
                                             linewidth=2.5, zorder=3))
            axes.text(-0.3, y + 0.5, f"block {b}, warp {w}", ha="right", va="center", fontsize=9)
            y += 1
        y += 0.35
    words = (f"block {shown[0]}, thread {shown[1]}:  blockIdx.x · blockDim.x + threadIdx.x = "
             f"{shown[0]} · {block} + {shown[1]} = {shown[0] * block + shown[1]}")
    axes.text(0, y + 0.25, words, va="center", fontsize=10, weight="bold")
    axes.text(WARP, y + 0.25, f"hatched: {blocks * block - postings} threads without a posting",
              va="center", ha="right", fontsize=9)
    axes.set(xlim=(0, WARP), ylim=(y + 0.7, -0.1), yticks=[],
             xticks=np.arange(0, WARP, 4) + 0.5, xticklabels=range(0, WARP, 4))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return tidy(axes, f"{postings} postings, {blocks} blocks of {block} threads; "
                      "columns: the lane in the warp").figure


def interleavings(played, right):
    """Orders in which two threads' steps can go.  played: [([(thread, words), ...], result)]."""
    figure, axes = new_figure(width=10, height=3.4)
    steps = len(played[0][0])
    look = {"A": (BLUE, TINTS[0]), "B": (ORANGE, TINTS[1])}
    for i, (said, result) in enumerate(played):
        for step, (thread, words) in enumerate(said):
            edge, face = look[thread]
            axes.add_patch(Rectangle((i + 0.05, step + 0.06), 0.9, 0.88, facecolor=face,
                                     edgecolor=edge, linewidth=1.5))
            axes.text(i + 0.5, step + 0.5, f"{thread} {words}", ha="center", va="center",
                      fontsize=10)
        good = result == right
        axes.text(i + 0.5, steps + 0.45, f"{result:g}: " + ("right" if good else "lost one"),
                  ha="center", va="center", weight="bold", color=GREEN if good else VERMILION)
    axes.set(xlim=(0, len(played)), ylim=(steps + 0.9, 0),
             xticks=np.arange(len(played)) + 0.5, xticklabels=range(1, len(played) + 1),
             yticks=[*np.arange(steps) + 0.5, steps + 0.45],
             yticklabels=[*(f"step {s}" for s in range(1, steps + 1)), "score"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return tidy(axes, "Threads A and B add 1 and 2 to a score of 0: every order").figure


def sectors(places):
    """Which sectors hold the words at some places in bytes -> rising int64."""
    return np.unique(np.asarray(places) // SECTOR)


def what_a_warp_asks(panels, rows=32):
    """Memory as rows of 128 bytes: what 32 lanes ask for, what comes with it.

    panels: list of (title, places in bytes (32,), sectors a request as counted).
    """
    figure, all_axes = new_figure(columns=len(panels), width=10, height=4.6)
    for axes, (title, places, counted) in zip(all_axes, panels, strict=True):
        words = np.zeros(rows * WARP, int)
        for s in sectors(places):
            words[s * SECTOR // WORD:(s + 1) * SECTOR // WORD] = 1
        words[np.asarray(places) // WORD] = 2
        axes.imshow(words.reshape(rows, WARP), cmap=ListedColormap(["white", TINTS[0], BLUE]),
                    vmin=0, vmax=2, extent=(0, WARP, rows, 0), interpolation="nearest",
                    aspect="auto")
        axes.vlines(np.arange(0, WARP + 1, SECTOR // WORD), 0, rows, color="#777777", linewidth=0.8)
        axes.hlines(np.arange(rows + 1), 0, WARP, color="#DDDDDD", linewidth=0.4)
        axes.set(xticks=range(0, WARP + 1, 8), xticklabels=range(0, 4 * WARP + 1, 32),
                 yticks=range(0, rows + 1, 8), yticklabels=range(0, 128 * rows + 1, 1024))
        axes.grid(visible=False)
        tidy(axes, f"{title}: {counted:.0f} sectors", "byte of the row; lines part sectors",
             "address of the row (bytes)" if axes is all_axes[0] else "")
    figure.legend(handles=[
        Patch(facecolor=BLUE, label="asked for by a lane"),
        Patch(facecolor=TINTS[0], edgecolor="#777777", label="comes along in the same sector"),
        Patch(facecolor="white", edgecolor="#777777", label="stays where it is")],
        loc="outside lower center", ncols=3)
    return figure


def banks(panels, column=5):
    """A tile's words coloured by bank, and how many words of one column each bank must give.

    panels: list of (title, words from a row to the next, passes a request as counted).
    """
    figure, all_axes = new_figure(rows=2, columns=len(panels), width=10, height=5.6,
                                  gridspec_kw={"height_ratios": (3, 1)})
    for (tile, bars), (title, pitch, counted) in zip(all_axes.T, panels, strict=True):
        bank = np.arange(WARP * pitch).reshape(WARP, pitch) % WARP             # (32, pitch)
        picture = tile.imshow(bank, cmap=HEAT, vmin=0, vmax=WARP - 1, aspect="auto",
                              extent=(0, pitch, WARP, 0), interpolation="nearest")
        tile.add_patch(Rectangle((column, 0), 1, WARP, fill=False, edgecolor=VERMILION,
                                 linewidth=2.5))
        if pitch > WARP:
            tile.add_patch(Rectangle((WARP, 0), pitch - WARP, WARP, facecolor="none",
                                     edgecolor="white", hatch="xxxx", linewidth=0))
        tile.set(xlim=(0, 33), xticks=[0, 8, 16, 24, 32], yticks=[0, 8, 16, 24, 32])
        tile.grid(visible=False)
        tidy(tile, f"{title}: {counted:.0f} pass{'es' * (counted > 1)} for a column",
             "column of the tile", "row of the tile" if tile is all_axes[0, 0] else "")
        asked = np.bincount(bank[:, column], minlength=WARP)                   # (32,)
        bars.bar(np.arange(WARP), asked, color=VERMILION, width=0.8)
        bars.set(xlim=(-0.7, WARP - 0.3), ylim=(0, 34), yticks=[0, 16, 32],
                 xticks=[0, 8, 16, 24, 31])
        tidy(bars, "", "bank", "words to give" if bars is all_axes[1, 0] else "")
    figure.colorbar(picture, ax=all_axes[0].tolist(), label="bank of the word", pad=0.01)
    return figure


def roofline(devices, kernels):
    """What devices could do at best against operations a byte; kernels: name -> that number."""
    figure, axes = new_figure(width=8.4, height=4.6)
    x = np.logspace(-3, 3, 241)
    for (name, d), colour, line in zip(devices.items(), (GREEN, BLUE, VERMILION, ORANGE),
                                       ("-", "--", "-.", ":"), strict=False):
        axes.plot(x, np.minimum(x * d.bandwidth, d.float32), color=colour, linestyle=line,
                  label=f"{name}: {d.bandwidth / 1e9:,.0f} GB/s, {d.float32 / 1e12:.0f} TFLOPS")
    fastest = max(d.bandwidth for d in devices.values())
    for (name, work), marker in zip(kernels.items(), MARKERS, strict=False):
        axes.axvline(work, color="#888888", linewidth=1, zorder=1)
        for d in devices.values():
            axes.plot(work, work * d.bandwidth, marker, color=BLACK, markersize=5, zorder=4)
        axes.annotate(name, (work, work * fastest), xytext=(-4, 9), textcoords="offset points",
                      rotation=90, ha="right", va="bottom", fontsize=9)
    axes.set(xscale="log", yscale="log", xlim=(1e-3, 1e3), ylim=(1e8, 3e14))
    axes.legend(loc="lower right", fontsize=9)
    return tidy(axes, "Rooflines: memory limits on the slope, arithmetic on the flat",
                "float32 operations for a byte moved", "operations a second, at best").figure


def tour():
    """Notebook 0 in four pictures: yields lines to print and (name, Figure) pairs."""
    from kernels.emulator.roofline import PEAKS
    lane = np.arange(WARP)
    panels = [("side by side", 4 * lane), ("runs of 32", 128 * lane), ("records", 32 * lane + 24)]
    yield "How to read a kernel: notebooks/ch00_kernels.ipynb"
    yield "threads", thread_grid(75, 32)
    yield "sectors", what_a_warp_asks([(t, at, sectors(at).size) for t, at in panels])
    yield "banks", banks([("32 columns", 32, 32), ("33 columns", 33, 1)])
    yield "roofline", roofline(PEAKS, {"one addition, 12 bytes": 1 / 12})
