"""`python -m primer`: the tour, and its commands.  It calls and prints."""
import argparse
import importlib
import json
import re
import sys

from tqdm import tqdm

import kernels
from primer import claims, data, training
from primer.training import embedding, lookup, quality


def print_claims(arguments):
    rows = claims.rows(arguments.chapter)
    if arguments.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not rows:
        raise ValueError(f"--chapter: no claims for chapter {arguments.chapter}; there are some "
                         f"for {', '.join(str(int(c[2:4])) for c in claims.chapters())}")
    mark = {"right": "  ", "wrong": "!!", "illustrative": "~ "}
    for row in rows:
        print(f"{mark[row['verdict']]} ch{row['chapter']:02d} line {row['line']:<5}{row['claim']}")
        print(f"       text {claims.short(row['text'])}   computed {claims.short(row['computed'])}")
        if row["note"]:
            print(f"       {row['note']}")
    print(f"\n{len(rows)} claims.  !! the text is wrong   ~ the text's number is only an example")


def corpus(name):
    """Documents and a label for each, of the committed corpus or a folder of text files."""
    if name == "sotu":
        documents, about = data.sotu_paragraphs()
        return documents, [f"{a['president']} {a['year']}, paragraph {a['paragraph']}"
                           for a in about]
    return data.read_folder(name)


def search(arguments):
    """BM25 over a corpus: the matching terms highlighted, and each term's share of the score; or,
    by --model, the texts of like meaning."""
    if arguments.model != "bm25":
        return embedding.search(arguments, *corpus(arguments.corpus))
    chosen = [kernels.twin(c, arguments.backend) for c in ("ch03_bow", "ch05_bm25")]
    from primer.ch05_bm25 import BM25
    documents, labels = corpus(arguments.corpus)
    index = BM25(documents, bow=chosen[0], bm25=chosen[1])
    found, scores = (r[0] for r in index.search([arguments.query], arguments.k))
    hits = []
    for rank, (d, score) in enumerate(zip(found, scores, strict=True), 1):
        if d < 0:
            break
        shares = index.explain(arguments.query, int(d))
        terms = {}
        for share in shares:
            terms[share.word] = terms.get(share.word, 0.0) + share.impact
        hits.append({"rank": rank, "score": round(float(score), 6), "document": labels[d],
                     "text": documents[d], "terms": {w: round(s, 6) for w, s in terms.items()}})
    if arguments.json:
        print(json.dumps(hits, indent=1, ensure_ascii=False))
    else:
        print_hits(hits, len(documents), arguments)


def print_hits(hits, n, arguments):
    from primer.figures.ch05_bm25 import snippet
    print(f"{n} documents of {arguments.corpus!r}, BM25, {arguments.backend} back end")
    if not hits:
        print(f"no document holds a word of {arguments.query!r}")
    for hit in hits:
        terms = "  ".join(f"{w} {s:.2f}" for w, s in
                          sorted(hit["terms"].items(), key=lambda item: -item[1]))
        print(f"\n{hit['rank']:>3}  {hit['score']:6.2f}  {hit['document']}   [{terms}]")
        words = snippet(" ".join(hit["text"].split()), arguments.query, 220)
        print(f"     ... {highlight(words, hit['terms'])} ...")


def highlight(text, terms):
    """Matching words bold on a terminal, between asterisks elsewhere -> str."""
    left, right = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("*", "*")
    words = r"\b(?:" + "|".join(map(re.escape, terms)) + r")\b"
    return re.sub(words, lambda m: f"{left}{m.group()}{right}", text, flags=re.IGNORECASE)


def prove_kernels(arguments):
    """Check every CUDA kernel, on a GPU or without one; exit status 1 if one is wrong."""
    from kernels.emulator import gpu

    def progress(items, words):
        return tqdm(items, desc=words, unit="", leave=False, disable=None)

    found = gpu.report(progress, arguments.scale)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(gpu.lines(found)))
    if found["failures"]:
        raise SystemExit(1)


def manage_data(arguments):
    if arguments.action == "list":
        for row in data.listing():
            print(f"{row['name']:<18}{row['where']:<13}{row['size']:>9}  {row['title']} "
                  f"({row['licence']})")
    elif arguments.action == "get":
        if not arguments.name:
            raise ValueError("data get: expected a name; `python -m primer data list` has them")
        print(f"{arguments.name}: {data.get(arguments.name)}")
    else:
        states = list(data.verify())
        for name, state in states:
            print(f"{name:<18}{state}")
        if any(state.startswith("damaged") for _, state in states):
            raise SystemExit(1)


def parser():
    main = argparse.ArgumentParser(prog="python -m primer", description=__doc__)
    main.add_argument("--figures", default="figures", metavar="FOLDER",
                      help="where the tour writes its figures (default: figures)")
    commands = main.add_subparsers(dest="command", metavar="COMMAND")
    command = commands.add_parser("claims", help="the text's numbers against ours")
    command.add_argument("--chapter", type=int, metavar="N")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=print_claims)
    command = commands.add_parser("data", help="list, fetch and check the data")
    command.add_argument("action", choices=["list", "get", "verify"])
    command.add_argument("name", nargs="?")
    command.set_defaults(run=manage_data)
    command = commands.add_parser("search", help="rank documents for a query by BM25 or by meaning")
    command.add_argument("query")
    command.add_argument("--model", default="bm25", metavar="NAME",
                         help="bm25 (default): words; minilm, once fetched, or a folder: meaning")
    command.add_argument("--corpus", default="sotu", metavar="NAME-OR-FOLDER",
                         help="sotu (default), or a folder of .txt and .md files")
    command.add_argument("-k", type=int, default=10, help="how many results (default: 10)")
    command.add_argument("--backend", choices=["numpy", "numba"], default="numba")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=search)
    add_vector_commands(commands)
    add_exercise_commands(commands)
    command = commands.add_parser("gpu", help="check the CUDA kernels, time them on a GPU")
    command.add_argument("--scale", type=int, metavar="N",
                         help="size of the examples (default: 8 with a GPU, 1 without)")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=prove_kernels)
    return main


def add_vector_commands(commands):
    """train, neighbors, analogy, evaluate, embed."""
    training.add_arguments(commands.add_parser("train", help="train word vectors on a text file"))
    embedding.add_arguments(commands.add_parser("embed", help="the vectors of a file's texts"))
    for name, ask, words in (("neighbors", lookup.neighbors, "the nearest words, by cosine"),
                             ("analogy", lookup.analogy, "A is to B as C is to which word?")):
        command = commands.add_parser(name, help=words)
        command.add_argument("words", nargs="+", metavar="WORD")
        command.add_argument("--vectors", required=True, metavar="FILE",
                             help=".vec, .txt, .glove, .bin or .ftz, .gz too; or glove-6b-50d, "
                                  "once fetched")
        command.add_argument("-k", type=int, default=10, help="how many (default: 10)")
        command.add_argument("--json", action="store_true")
        command.set_defaults(run=ask)
    command = commands.add_parser("evaluate", help="word similarity and analogies of vectors")
    command.add_argument("--vectors", required=True, metavar="FILE", help="as for neighbors")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=quality.evaluate)


def of_exercises(name):
    """A command of primer/exercises, which loads Hypothesis: imported when it runs."""
    return lambda arguments: getattr(importlib.import_module("primer.exercises.commands"),
                                     name)(arguments)


def add_exercise_commands(commands):
    """start, check, progress, kills; for a class: assignment, precheck, recheck."""
    command = commands.add_parser("start", help="copy a chapter's notebook and stubs to work/")
    command.add_argument("chapter", metavar="CHAPTER", help="ch05")
    command.add_argument("--to", default="work", metavar="FOLDER")
    command.add_argument("--kernel", choices=["numba", "cuda"],
                         help="write the chapter's kernels in place of its stubs")
    command.set_defaults(run=of_exercises("start"))
    command = commands.add_parser("check", help="try the exercises on your file")
    command.add_argument("file", metavar="FILE",
                         help="work/ch05_bm25.py, _numba.py or .cu")
    command.add_argument("exercises", nargs="*", metavar="EXERCISE",
                         help="ch05.idf, of a .cu the name of a kernel; default: all")
    command.add_argument("--no-hints", action="store_true", help="do not name the mistake")
    command.set_defaults(run=of_exercises("check"))
    command = commands.add_parser("progress", help="which exercises are solved")
    command.add_argument("--folder", default="work")
    command.set_defaults(run=of_exercises("progress"))
    command = commands.add_parser("kills", help="which property catches which mistake")
    command.add_argument("chapters", nargs="*", metavar="CHAPTER", help="default: all")
    command.add_argument("--systematic", action="store_true",
                         help="operators, constants and comparisons changed one by one")
    command.set_defaults(run=of_exercises("kills"))
    command = commands.add_parser("assignment", help="write a problem set's notebook, for nbgrader")
    command.add_argument("name", metavar="NAME", help="ps1 to ps6")
    command.add_argument("--to", default="work/course", metavar="COURSE")
    command.set_defaults(run=of_exercises("assignment"))
    command = commands.add_parser("precheck", help="before you hand in a problem set")
    command.add_argument("file", metavar="FILE", help="ps1.ipynb")
    command.set_defaults(run=of_exercises("precheck"))
    command = commands.add_parser("recheck", help="grade answers apart, compare with nbgrader")
    command.add_argument("name", metavar="NAME", help="ps1 to ps6")
    command.add_argument("--folder", default=".", metavar="COURSE")
    command.set_defaults(run=of_exercises("recheck_all"))


def main(argv=None):
    arguments = parser().parse_args(argv)
    try:
        if arguments.command is None:
            from primer.figures.tour import tour  # which loads matplotlib
            tour(arguments.figures)
        else:
            arguments.run(arguments)
    except (data.DataError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"error: {words}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(stopped if stopped.args else "stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
