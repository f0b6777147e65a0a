"""The tour: each chapter's numbers recomputed, then one thing on real data, with figures."""
import importlib
import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from tqdm import tqdm

from primer import claims


def chapters():
    """Names of the chapters built so far, in order, without their parts -> list of str."""
    found = sorted(p.stem for p in Path(__file__).parents[1].glob("ch[0-9][0-9]_*.py"))
    return [name for name in found if name.rpartition("_")[0] not in found]


def title(chapter):
    """The chapter's title: the first line of its module -> "Chapter 5. BM25: ..."."""
    module = importlib.import_module(f"primer.{chapter}")
    return module.__doc__.strip().splitlines()[0]


def tour(folder):
    """Each chapter: the text's numbers recomputed, then one thing on real data, with figures.

    In two processes or more, as there are processors: most of the time Numba compiles, on one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    started, saved, names = time.perf_counter(), [], chapters()
    with (multiprocessing.get_context("spawn").Pool(
            min(os.cpu_count() or 1, 4), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool,
          tqdm(names, desc="chapters", unit="ch", leave=False, disable=None) as bar):
        for chapter, (lines, paths) in zip(bar, pool.imap(partial(shown, folder=folder), names),
                                           strict=True):
            bar.set_postfix_str(chapter)
            tqdm.write("\n".join(["", title(chapter), summary(int(chapter[2:4])), *lines]),
                       file=sys.stdout)
            saved += paths
    print(f"""
{len(saved)} figures are in {folder.resolve()}; the tour took {time.perf_counter() - started:.0f} s.
What next:
  step through a chapter     python -m pip install -e '.[notebooks]'
                             python -m jupyter lab notebooks/ch03_bow.ipynb
  search the addresses       python -m primer search "national bank" -k 5
  the text against ours      python -m primer claims
  run the tests              python -m pytest""")


def shown(chapter, folder):
    """A chapter's part of the tour -> lines, paths of its figures."""
    lines, paths = [], []
    for item in importlib.import_module(f"primer.figures.{chapter}").tour():
        if isinstance(item, str):
            lines.append(f"  {item}")
        else:
            paths.append(folder / f"{chapter}_{item[0]}.png")
            item[1].savefig(paths[-1])
    return lines, paths


def summary(number):
    """One line on the text's numbers, then the wrong ones -> str."""
    rows = claims.rows(number)
    of = {v: sum(r["verdict"] == v for r in rows) for v in ("right", "wrong", "illustrative")}
    lines = [f"  {len(rows)} numbers and statements of the text recomputed: {of['right']} right, "
             f"{of['wrong']} wrong, {of['illustrative']} only illustrative"]
    wrong = [r for r in rows if r["verdict"] == "wrong"]
    for row in wrong[:2]:
        lines.append(f"    line {row['line']}, {row['claim']}: the text has "
                     f"{claims.short(row['text'])}, right is {claims.short(row['computed'])}")
    return "\n".join(lines)
