"""Ours beside the field's libraries, in one process, on the same data.

    python -m tests.benchmarks                 all of them
    python -m tests.benchmarks ch05            one chapter
    python -m tests.benchmarks --json          one JSON list on stdout, and nothing else there

ratio is the peer's median time over ours: above 1, ours is faster.
"""
import argparse
import contextlib
import importlib.util
import json
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "2"           # the same for ours and the peers; NumPy is not imported yet
importlib.import_module("kernels")    # tells NumPy's BLAS when its threads may go, and imports it

FOLDER = Path(__file__).resolve().parent
KEYS = ("what", "peer", "size", "ours", "peer_s", "ratio", "bar", "reached", "versions")
LINE = "{:28} {:16} {:22} {:>10} {:>10} {:>8} {:>6}  {}"


def rows(path):
    """Import one chapter's file and measure -> generator of dicts, as they come."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for row in module.rows():
        if missing := [key for key in KEYS if key not in row]:
            raise ValueError(f"{path.name}: a row lacks {', '.join(missing)}")
        show = seconds if row.get("unit", "s") == "s" else megabytes
        print(LINE.format(row["what"], row["peer"], str(row["size"]), show(row["ours"]),
                          show(row["peer_s"]), f"{row['ratio']:.2f}", str(row["bar"] or "-"),
                          "reached" if row["reached"] else "missed"), flush=True)
        yield {"chapter": path.stem, **row}


def seconds(value):
    """Three digits and a unit, such as 12.3 ms."""
    scale, unit = (1, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "us")
    return f"{value * scale:.3g} {unit}"


def megabytes(value):
    return f"{value / 1e6:.0f} MB"


def main():
    """The command line -> 1 if a peer is not installed, else 0; a missed bar is only shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="such as ch05; all, if none is named")
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout")
    options = parser.parse_args()
    paths = sorted(FOLDER.glob("ch*.py"))
    for name in options.chapters:
        if not any(p.stem.startswith(name) for p in paths):
            parser.error(f"no benchmark {name}; there are: {', '.join(p.stem for p in paths)}")
    done, failed = [], 0
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        print(LINE.format("what", "peer", "size", "ours", "theirs", "ratio", "bar", ""))
        for path in (p for p in paths if p.stem.startswith(tuple(options.chapters) or "ch")):
            try:
                done.extend(rows(path))
            except ModuleNotFoundError as error:
                if (error.name or "").split(".")[0] in ("primer", "kernels", "tests"):
                    raise                 # ours: a mistake, not a peer
                failed = 1
                print(f"{path.stem}: {error.name} is not installed; install the peers with:  "
                      "pip install -e '.[peers]'", file=sys.stderr)
        print(", ".join(sorted({f"{k} {v}" for row in done for k, v in row["versions"].items()})))
    if options.json:
        print(json.dumps(done, indent=1, default=lambda value: value.item()))   # NumPy's numbers
    return failed


if __name__ == "__main__":
    sys.exit(main())
