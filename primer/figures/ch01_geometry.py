"""Figures of chapter 1: one-hot and dense words, three measures, clusters, maps, neighbours.

`tour` looks at 1797 handwritten digits: an image of 8 x 8 pixels is a point with 64 coordinates.
"""
import numpy as np

from primer import data
from primer.ch01_geometry import (
    kmeans,
    linear_probe,
    nearest,
    one_hot,
    pairwise_cosine,
    pairwise_dot,
    pairwise_euclidean,
    pca,
    probe_predict,
)
from primer.figures import (
    BLACK,
    BLUE,
    COLOURS,
    HEAT,
    MARKERS,
    ORANGE,
    VERMILION,
    new_figure,
    tidy,
)

WORDS = {"man": (1, 1), "woman": (1, 2.2), "king": (3.4, 1.1), "queen": (3.4, 2.3),      # by hand
         "apple": (-2, 0.4), "orange": (-2.4, 0.9), "dog": (-0.4, -1.4), "cat": (0.1, -1.7)}
TRAIN = 1200                          # the first images; the others are kept for testing


def heat(axes, M, rows, columns, title):
    """A matrix as coloured cells, each with its number."""
    axes.imshow(M, cmap=HEAT, aspect="auto")
    dark = M < (M.min() + M.max()) / 2
    for i, j in np.ndindex(M.shape):
        axes.text(j, i, f"{M[i, j]:g}", ha="center", va="center", fontsize=9,
                  color="white" if dark[i, j] else BLACK)
    axes.set(xticks=range(len(columns)), yticks=range(len(rows)), yticklabels=rows)
    axes.set_xticklabels(columns)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return tidy(axes, title)


def one_hot_and_dense():
    """One-hot words, all equally far apart, beside dense ones, whose places say something.

    It stands for the figure that the text lost at line 192.  The dense places are set by hand.
    """
    words, dense = list(WORDS), np.array(list(WORDS.values()))           # (V,), (V, 2)
    figure, (left, middle, right) = new_figure(columns=3, width=12.5, height=4.2,
                                               width_ratios=[8, 2.6, 7.5])
    heat(left, one_hot(np.arange(len(words)), len(words)), words, range(1, len(words) + 1),
         "One-hot: V = 8 numbers a word")
    left.set_xlabel("any two words are $\\sqrt{2}$ apart")
    heat(middle, dense, [""] * len(words), (1, 2), "Dense: D = 2")
    for word, (x, y) in WORDS.items():
        right.plot(x, y, "o", color=BLUE)
        right.annotate(word, (x, y), xytext=(6, 4), textcoords="offset points")
    for a, b in (("man", "woman"), ("king", "queen")):
        right.annotate("", WORDS[b], WORDS[a],
                       arrowprops={"arrowstyle": "->", "color": VERMILION, "shrinkA": 5,
                                   "shrinkB": 5})
    right.set(xlim=(-3.2, 4.7), ylim=(-2.2, 3), aspect="equal")
    tidy(right, "The same two numbers as places, set by hand", "coordinate 1", "coordinate 2")
    return figure


def three_measures(query=(2.2, 1.1), points=((3.3, 3.6), (1.0, 0.57), (2.6, 2.0), (3.8, 0.3))):
    """One query, four points and their ranks by dot product, cosine and distance; then all as
    unit vectors, where the three agree."""
    figure, all_axes = new_figure(rows=2, columns=2, width=8.4, height=7.1)
    query, points = np.array(query), np.array(points)
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    panels = (("Dot product: along the arrow, and far out", pairwise_dot, query, points),
              ("Cosine: the same direction", pairwise_cosine, query, points),
              ("Distance: close to the tip", lambda A, B: -pairwise_euclidean(A, B), query, points),
              ("Lengths made 1: all three agree", pairwise_dot, query / np.linalg.norm(query),
               units))
    for axes, (title, score, q, P) in zip(all_axes.flat, panels, strict=True):
        right, top = (5.4, 4) if P is points else (1.45, 1.075)
        x, y = np.meshgrid(np.linspace(-0.1 * right, right, 360), np.linspace(-0.1 * top, top, 270))
        field = score(np.column_stack([x.ravel(), y.ravel()]), q[None]).reshape(x.shape)
        bands = np.searchsorted(np.quantile(field, np.linspace(0, 1, 10)[1:-1]), field)
        axes.imshow(bands, cmap=HEAT, alpha=0.5, origin="lower", interpolation="nearest",
                    extent=(x[0, 0], x[0, -1], y[0, 0], y[-1, 0]))
        axes.annotate("", q, (0, 0), arrowprops={"arrowstyle": "-|>", "color": BLACK, "lw": 2,
                                                 "shrinkA": 0, "shrinkB": 0})
        axes.annotate("query", q, xytext=(4, -14), textcoords="offset points")
        rank = np.argsort(np.argsort(-score(P, q[None])[:, 0])) + 1
        for name, p, place, marker, colour in zip("ABCD", P, rank, MARKERS, COLOURS, strict=False):
            axes.plot(*p, marker, color=colour, markersize=9, markeredgecolor="white")
            axes.annotate(f"{name}: rank {place}", p, textcoords="offset points",
                          xytext=(-58, 8) if name == "B" and P is points else (7, 7),
                          weight="bold" if place == 1 else "normal",
                          bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5})
        axes.set(xlim=(-0.1 * right, right), ylim=(-0.1 * top, top), aspect="equal")
        tidy(axes, title, "coordinate 1", "coordinate 2")
    angle = np.linspace(0, np.pi / 2, 50)
    all_axes[1, 1].plot(np.cos(angle), np.sin(angle), color=BLACK, linewidth=1, linestyle=":")
    return figure


def kmeans_steps(X, start, after=(0, 1, 3)):
    """Clusters of points in the plane after some iterations; right, the inertia of all of them."""
    figure, all_axes = new_figure(columns=len(after) + 1, width=3.4 * (len(after) + 1), height=3.7)
    for axes, iterations in zip(all_axes, after, strict=False):
        centroids, labels, _, _ = kmeans(X, len(start), None, iterations, start=start)
        for j, (colour, marker) in enumerate(zip(COLOURS, MARKERS, strict=False)):
            if j < len(start):
                axes.plot(*X[labels == j].T, marker, color=colour, markersize=4, alpha=0.6)
                axes.plot(*centroids[j], marker, color=colour, markersize=13,
                          markeredgecolor=BLACK, markeredgewidth=1.8)
        axes.set(xticks=[], yticks=[], aspect="equal")
        tidy(axes, f"After {iterations} iteration{'s' * (iterations > 1)}" if iterations else
             "Start: each point to the nearest")
    _, _, _, history = kmeans(X, len(start), None, start=start)
    all_axes[-1].plot(history, color=BLACK, marker="o", markersize=4)
    all_axes[-1].set_ylim(0, None)
    tidy(all_axes[-1], "Inertia J never rises", "iterations", "sum of squared distances")
    return figure


def digit_map(projected, labels, variance_share):
    """A map of images by their first two directions of most variance; a point is its digit."""
    figure, axes = new_figure(width=7, height=5.8)
    for digit in range(10):
        points = projected[labels == digit]
        axes.plot(points[:, 0], points[:, 1], linestyle="", marker=f"${digit}$", markersize=5,
                  color=COLOURS[digit % 7], markeredgewidth=0.1)
    axes.set_aspect("equal")
    return tidy(axes, f"{len(labels)} digits on a map with {variance_share:.0%} of the variance",
                "component 1", "component 2").figure


def digit_neighbours(images, labels, queries, found, scores):
    """Images (left) and their nearest other images by cosine; a frame marks another digit."""
    figure, all_axes = new_figure(rows=len(queries), columns=1 + found.shape[1],
                                  width=1.05 * (1 + found.shape[1]),
                                  height=0.35 + 1.22 * len(queries))
    for row, query in zip(all_axes, range(len(queries)), strict=True):
        shown = [queries[query], *found[query]]
        for axes, i, score in zip(row, shown, [None, *scores[query]], strict=True):
            axes.imshow(images[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            wrong = labels[i] != labels[queries[query]]
            for spine in axes.spines.values():
                spine.set(visible=wrong or score is None, color=VERMILION if wrong else BLUE,
                          linewidth=3, linestyle="--" if wrong else "-")
            axes.set_title("query" if score is None else f"{score:.2f}", fontsize=9,
                           fontweight="normal", loc="center")
    figure.suptitle("Nearest other images, with their cosine (dashed frame: another digit)",
                    fontsize=11, fontweight="bold")
    return figure


def cluster_table(labels, clusters, K=10):
    """How many images of each digit are in each cluster; clusters sorted by their main digit."""
    table = np.zeros((10, K), int)
    np.add.at(table, (labels, clusters), 1)
    order = np.lexsort((-table.max(axis=0), table.argmax(axis=0)))
    figure, axes = new_figure(width=6.6, height=4.8)
    heat(axes, table[:, order], range(10), [f"{j + 1}" for j in range(K)],
         "Clusters that nobody named, beside the digits")
    axes.set(xlabel="cluster (k-means, K = 10)", ylabel="digit written")
    return figure


def probe_curve(dimensions, accuracies, all_dimensions):
    """Accuracy of a linear probe on unseen images against the number of PCA directions."""
    figure, axes = new_figure(width=6.8, height=4)
    axes.plot(dimensions, accuracies, color=BLUE, marker="o", markersize=5)
    axes.axhline(all_dimensions, color=ORANGE, linestyle="--")
    axes.text(1, all_dimensions + 0.012, f"all 64 pixels: {all_dimensions:.1%}", fontsize=9)
    axes.axhline(0.1, color=BLACK, linestyle=":", linewidth=1.2)
    axes.text(1, 0.112, "guessing", fontsize=9)
    axes.set(ylim=(0, 1.05), xscale="log", xticks=dimensions, xticklabels=dimensions)
    axes.minorticks_off()
    return tidy(axes, "A straight line between classes, in fewer dimensions",
                "directions of most variance kept (logarithmic)",
                "right on 597 unseen images").figure


def purity(labels, clusters):
    """Share of images whose cluster's most frequent digit is their own -> float."""
    return sum(np.bincount(labels[clusters == j]).max()
               for j in np.unique(clusters)) / len(labels)


def other_neighbours(X, queries, k):
    """The k nearest rows by cosine, without the query itself -> indices, scores (q, k)."""
    found, scores = nearest(X[queries], X, k + 1)
    others = found != np.asarray(queries)[:, None]      # (q, k + 1)
    others[others.all(axis=1), -1] = False              # a double came before the query itself
    return (found[others].reshape(len(queries), k), scores[others].reshape(len(queries), k))


def probe_accuracy(X, labels):
    """Accuracy on the images behind the first TRAIN, by a probe of those -> float."""
    W, b = linear_probe(X[:TRAIN], labels[:TRAIN])
    return float((probe_predict(X[TRAIN:], W, b) == labels[TRAIN:]).mean())


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    images, labels = data.load_digits()
    X = images.astype(np.float64)                       # (1797, 64)
    yield f"{len(X)} handwritten digits: each is a point with {X.shape[1]} coordinates"
    found, _ = other_neighbours(X, np.arange(len(X)), 1)
    yield (f"  nearest other image by cosine: the same digit for "
           f"{(labels[found[:, 0]] == labels).mean():.1%} (guessing: 10%)")
    _, clusters, _, history = kmeans(X, 10, np.random.default_rng(0))
    yield (f"  k-means, never shown a label: {len(history) - 1} iterations, "
           f"{purity(labels, clusters):.1%} of the images lie with their own kind")
    queries = [np.flatnonzero(labels == digit)[3] for digit in (3, 5, 8, 9)]
    yield "neighbours", digit_neighbours(images, labels, queries, *other_neighbours(X, queries, 8))
    yield "clusters", cluster_table(labels, clusters)
    projected, _, _, variance = pca(X, 64)
    share = variance[:2].sum() / variance.sum()
    yield f"  two of 64 directions keep {share:.0%} of the variance; see the map"
    yield "map", digit_map(projected[::2], labels[::2], share)
    dimensions = (1, 2, 4, 8, 16, 32, 64)
    _, components, mean, _ = pca(X[:TRAIN], 64)
    accuracies = [probe_accuracy((X - mean) @ components[:d].T, labels) for d in dimensions]
    yield (f"  a linear probe of {TRAIN} images reads {probe_accuracy(X, labels):.1%} of the other "
           f"{len(X) - TRAIN} right")
    yield "probe", probe_curve(dimensions, accuracies, probe_accuracy(X, labels))
    yield "one_hot", one_hot_and_dense()
    yield "measures", three_measures()
