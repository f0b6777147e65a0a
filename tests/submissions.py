"""A small problem set, and what students hand in: honest, unlucky and hostile.

KINDS: name -> (how the notebook differs, points after recheck, nbgrader's points, remark).  The set
has 5 points for ch05.saturation (5 claims) and 4 for ch05.idf (4 claims): a point for each claim.
nbgrader's points: None where it gives no grade.
"""
import copy
import json

from primer.exercises import assignments

TOML = """title = "Problem set 9: a small one"
exercises = [
    {id = "ch05.saturation", points = 5},
    {id = "ch05.idf", points = 4},
]
"""
SATURATION, ROBERTSON, LUCENE = (f"ch05-{e}-answer-{f}" for e, f in (
    ("saturation", "saturation"), ("idf", "idf_robertson"), ("idf", "idf_lucene")))
TEST = "ch05-saturation-test"
GOOD = {                              # in words of its own: nobody copied the reference
    SATURATION: """def saturation(count, length_ratio, k1=1.2, b=0.75):
    below = np.asarray(count) + k1 * (1 - b + b * np.asarray(length_ratio))
    with np.errstate(all="ignore"):
        return np.where(np.asarray(count) > 0, np.asarray(count) * (k1 + 1) / below, 0.0)
""",
    ROBERTSON: """def idf_robertson(df, n):
    without = n - np.asarray(df)
    return np.log(without + 0.5) - np.log(np.asarray(df) + 0.5)
""",
    LUCENE: """def idf_lucene(df, n):
    return np.log((n + 1) / (np.asarray(df) + 0.5))
"""}
EMPTY = "def saturation(count, length_ratio, k1=1.2, b=0.75):\n    pass\n"
NOTHING = {SATURATION: EMPTY, ROBERTSON: "def idf_robertson(df, n):\n    pass\n",
           LUCENE: "def idf_lucene(df, n):\n    pass\n"}
NOISY = """import sys, warnings, logging, os
logging.basicConfig()
def saturation(count, length_ratio, k1=1.2, b=0.75):
    print("count", count)
    print("ratio", length_ratio, file=sys.stderr)
    warnings.warn("hm")
    logging.warning("hm")
    os.write(2, b"hm")
    np.log(np.array([-1.0]))
""" + "    below" + GOOD[SATURATION].partition("    below")[2]
PATCH = """import sys
import primer.exercises.report
sys.modules["primer.exercises.report"].Report.fraction = property(lambda self: 1.0)
""" + EMPTY
ANY = "def saturation(*a, **k):\n"


def with_answers(sources):
    """An edit that puts sources into answer cells."""
    def edit(notebook):
        for cell in notebook["cells"]:
            if cell["id"] in sources:
                cell["source"] = sources[cell["id"]].splitlines(keepends=True)
    return edit


def good(**other):
    """Right answers but for those named."""
    names = {"saturation": SATURATION, "robertson": ROBERTSON, "lucene": LUCENE}
    return with_answers(GOOD | {names[k]: v for k, v in other.items()})


def then(first, change):
    """First right answers, then a change to the notebook."""
    def edit(notebook):
        first(notebook)
        change(notebook)
    return edit


def index(notebook, name):
    return next(i for i, c in enumerate(notebook["cells"]) if c["id"] == name)


def edit_tests(notebook):
    for cell in notebook["cells"]:
        if cell["id"].endswith("-test"):
            cell["source"] = [str(cell["metadata"]["nbgrader"]["points"])]


def duplicate(name):
    def change(notebook):
        i = index(notebook, name)
        notebook["cells"].insert(i + 1, copy.deepcopy(notebook["cells"][i]) | {"id": "another"})
    return change


def delete(name):
    return lambda notebook: notebook["cells"].pop(index(notebook, name))


def to_markdown(notebook):
    cell = notebook["cells"][index(notebook, SATURATION)]
    cell["cell_type"] = "markdown"
    del cell["outputs"], cell["execution_count"]


def windows(notebook):
    for cell in notebook["cells"]:
        cell["source"] = [line.replace("\n", "\r\n") for line in cell["source"]]


def helper_cell(notebook):
    notebook["cells"].insert(2, {"cell_type": "code", "id": "mine", "metadata": {}, "outputs": [],
                                 "execution_count": None,
                                 "source": ["%matplotlib inline\n", "größe = np.asarray"]})


def forget_metadata(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {}


OWN = then(good(saturation=GOOD[SATURATION].replace("np.asarray", "größe")), helper_cell)
BY_NAME = "import primer.ch05_bm25 as m\n" + ANY + "    return m.saturation(*a, **k)"
KINDS = {
    "good": (good(), 9, 9, ""),
    "blank": (with_answers({}), 0, 0, ""),
    "bug": (good(lucene=GOOD[LUCENE].replace("np.log", "np.log2")), 8, 8, ""),
    "part": (good(saturation=GOOD[SATURATION].replace("> 0", ">= 0")), 6, 6, ""),
    "endless": (good(saturation=ANY + "    while True:\n        pass\n"), 4, 4, ""),
    "exit": (good(saturation="import os\n" + ANY + "    os._exit(1)\n"), 4, 0, "use of os"),
    "recursion": (good(saturation=ANY + "    return saturation(*a, **k)\n"), 4, 4, ""),
    "none": (good(saturation=ANY + "    pass\n"), 4, 4, ""),
    "noisy": (good(saturation=NOISY), 9, 9, "use of os, sys"),
    "edited": (then(with_answers(NOTHING), edit_tests), 0, 0, ""),
    "shadow": (with_answers(NOTHING | {SATURATION: EMPTY + "def check(*a, points, **k):\n"
                                       "    return points\n"}), 0, 0, ""),
    "patch": (with_answers(NOTHING | {SATURATION: PATCH}), 0, 9, "nbgrader 5, recheck 0"),
    "twice": (then(good(), duplicate(TEST)), 9, None, ""),
    "answer-twice": (then(good(), duplicate(SATURATION)), 9, None, "is there 2 times"),
    "deleted": (then(good(), delete(TEST)), 9, 9, ""),
    "markdown": (then(good(), to_markdown), 9, 9, ""),
    "sleep": (good(lucene=GOOD[LUCENE] + "import time\ntime.sleep(10**6)\n"), 9, 9, ""),
    "sleep-kept": (good(lucene=GOOD[LUCENE] + "import time\nx = time.sleep(10**6)\n"), 9, 9,
                   "does not end"),
    "syntax": (good(saturation="def saturation(count, length_ratio)\n    return 1\n"), 4, 4,
               "line 1: expected ':'"),
    "import": (good(saturation="from primer.ch05_bm25 import saturation\n"), 4, 9,
               "imports the reference: saturation of primer.ch05_bm25"),
    "import-module": (good(saturation=BY_NAME), 4, 9, "imports the reference: m.saturation"),
    "windows": (then(OWN, windows), 9, 9, ""),
    "own-cell": (OWN, 9, 9, ""),
}


def handed_out(assignment):
    """The notebook as a student gets it  ->  dict."""
    notebook, cells = assignments.notebook(assignment), assignments.released(assignment)
    for cell in notebook["cells"]:
        cell["source"] = cells[cell["id"]][1].splitlines(keepends=True)
    return notebook


def hand_in(notebook, edit, path):
    """Write a copy with an edit."""
    mine = copy.deepcopy(notebook)
    edit(mine)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(mine, ensure_ascii=False), "utf-8")
    return path
