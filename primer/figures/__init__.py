"""The house's plot style: readable in print, in grey, and for colour-blind people.

    from primer.figures import BLUE, ORANGE, new_figure, tidy
    figure, axes = new_figure()                  # one panel;  new_figure(columns=2) for two

Each chapter's plots are functions in a file of its number (`ch05_bm25.py`); they take numbers,
return a matplotlib Figure, and are shared by the tour and the notebook.
"""
from matplotlib import rcParams
from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color Universal Design": told apart by all common kinds of colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")    # a second sign, for those who see no colour
HEAT = "cividis"                                 # grows in lightness; safe for colour-blind people

STYLE = {
    "figure.dpi": 100, "savefig.dpi": 100, "figure.facecolor": "white",
    "font.family": "DejaVu Sans", "font.size": 10,
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#DDDDDD", "grid.linewidth": 0.6,
    "lines.linewidth": 2, "legend.frameon": False,
}
rcParams.update(STYLE)                           # matplotlib reads it whenever it draws something


def new_figure(rows=1, columns=1, width=6.4, height=4.0, **subplot_options):
    """A styled figure outside pyplot's memory (nothing to close) -> (Figure, axes or array)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **subplot_options)


def tidy(axes, title, x="", y=""):
    """Title and axis labels, with units where there are any -> the axes."""
    axes.set_title(title, loc="left", weight="bold", size=STYLE["axes.titlesize"])
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes
