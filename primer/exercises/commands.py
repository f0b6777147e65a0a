"""What `python -m primer start, check, progress, kills, assignment, precheck, recheck` do: they
call, print, keep a record."""
import ast
import dataclasses
import hashlib
import importlib
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from primer.exercises import (
    assignments,
    handed_in,
    kernel_exercises,
    recheck,
    report,
    sandbox,
    stubs,
)
from primer.exercises.kit import catalogue, sample
from primer.exercises.mutate import build, catcher, catches, systematic
from primer.exercises.student import Student

RECORD = "progress.json"              # beside the checked files: what held when they were checked


def start(arguments):
    if arguments.kernel:
        for file in kernel_exercises.start(arguments.chapter, arguments.kernel, arguments.to):
            print(f"{file}: kernels to fill in\nthen: python -m primer check {file}")
        return
    file, *more = stubs.start(arguments.chapter, arguments.to)
    chapter = report.chapter_of(arguments.chapter)
    print(f"{file}: {len(catalogue(chapter))} exercises to fill in\n"
          + "".join(f"{notebook}: the chapter to step through\n" for notebook in more)
          + f"then: python -m primer check {file}")


def check(arguments):
    """Exit status 1 where one fails; what is not written yet is no failure."""
    file = Path(arguments.file)
    if file.suffix == ".cu":
        return check_kernels(file, arguments.exercises)
    work = read(file)
    exercises = [asked(work, e, file) for e in arguments.exercises] or work.exercises
    with Student(file, sorted({f for e in exercises for f in e.functions})) as student:
        reports = [judged(e, student, work, not arguments.no_hints) for e in exercises]
    for one in reports:
        print(one, end="\n\n")
    record(file, reports)
    others = [] if arguments.exercises else kernel_exercises.check_numba(file, work.others)
    if others:
        print(f"against the reference\n{kernel_exercises.as_text(others)}\n")
    solved = sum(r.passed for r in reports) + sum(r.status == "right" for r in others)
    print(f"{solved} of {len(reports) + len(others)} solved")
    if any(not r.passed and any(o.status not in ("todo", "untried") for o in r.outcomes
                                if o.status != "passed") for r in reports) or any(
            r.status not in ("right", "todo") for r in others):
        raise SystemExit(1)


def check_kernels(file, names):
    """The same for CUDA C."""
    existing(file)
    results = kernel_exercises.check_cuda(file, names)
    print(f"{file.name}, on the emulator\n{kernel_exercises.as_text(results)}\n")
    print(f"{sum(r.status == 'right' for r in results)} of {len(results)} solved")
    if any(r.status not in ("right", "todo") for r in results):
        raise SystemExit(1)


class Work(NamedTuple):
    """A student's file: its chapter and exercises, the names of the functions that are written, and
    of a Numba file those that no exercise covers and those that are not written with Numba."""

    chapter: str
    exercises: list
    written: set
    others: list = ()
    given: set = frozenset()


def read(file):
    """What a student's file is about, by its name  ->  Work.  Raises LookupError for no chapter,
    and as `parsed` does."""
    tree = parsed(file)
    if not file.stem.endswith("_numba"):
        try:
            chapter = report.chapter_of(file.stem)
        except LookupError as error:
            raise LookupError(str(error).replace("exercise", "FILE", 1)) from None
        return Work(chapter, catalogue(chapter), kernel_exercises.functions(tree).keys())
    stem = file.stem.removesuffix("_numba")
    if stem not in kernel_exercises.NUMBA:
        raise LookupError(f"FILE: {file.name} is none of "
                          f"{', '.join(f'{s}_numba.py' for s in kernel_exercises.NUMBA)}")
    chapter, ours = report.chapter_of(stem[:4]), kernel_exercises.to_write(stem)
    exercises = [e for e in catalogue(chapter) if set(e.functions) & set(ours)]
    covered = {f for e in exercises for f in e.functions}
    return Work(chapter, exercises, kernel_exercises.written(tree),
                [f for f in ours if f not in covered], covered - set(ours))


def asked(work, name, file):
    """The exercise of that id.  Raises LookupError, ValueError for one of another file."""
    exercise = report.find(name)
    if exercise.id.partition(".")[0] != work.chapter[:4]:
        raise ValueError(f"exercise: {name} is not of {file.name}")
    if exercise not in work.exercises:
        able = [*(e.id for e in work.exercises), *work.others]
        raise ValueError(f"exercise: nothing of {name} is in {file.name}; there it is "
                         f"{', '.join(able)}")
    return exercise


def existing(file):
    """Raises FileNotFoundError, with the command that makes the file."""
    kind = (" --kernel cuda" if file.suffix == ".cu" else
            " --kernel numba" if file.stem.endswith("_numba") else "")
    if not file.exists():
        chapter = file.stem[:4] if file.stem[:4] in {c[:4] for c in report.chapters()} else "ch05"
        raise FileNotFoundError(f"FILE: there is no {file}; one is made with: python -m primer "
                                f"start {chapter}{kind}")


def parsed(file):
    """Its syntax tree.  Raises ValueError that shows the line, FileNotFoundError."""
    existing(file)
    try:
        return ast.parse(file.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected UTF-8, byte {error.start} is none") from None
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}\n    {line}\n    "
                         f"{' ' * max((error.offset or 1) - 1, 0)}^") from None


def judged(exercise, student, work, hints):
    """A Report on a student's process; functions that the file lacks are to do."""
    own = [f for f in exercise.functions if f not in work.given]
    source = {f: getattr(student, f) if f in work.written else None for f in own}
    if None not in source.values():
        reference = importlib.import_module(exercise.reference)
        source |= {f: getattr(reference, f) for f in exercise.functions if f in work.given}
    effort = dataclasses.replace(report.EFFORTS["quick"], call_seconds=recheck.PATIENT)
    return report.judge(exercise, source, effort, hints)


def record(file, reports):
    """Add to the record beside the file, written to the side and renamed."""
    path = file.parent / RECORD
    kept = read_record(path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    kept |= {r.exercise.id: {"held": sum(o.status == "passed" for o in r.outcomes),
                             "of": len(r.outcomes), "file": file.name, "sha256": digest,
                             "todo": all(o.status == "todo" for o in r.outcomes)}
             for r in reports}
    assignments.write_aside(path, json.dumps(kept, indent=1))


def read_record(path):
    """The record, or {} where there is none that can be read."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def progress(arguments):
    folder = Path(arguments.folder)
    kept = read_record(folder / RECORD)
    solved = total = 0
    for chapter in report.chapters():
        title = importlib.import_module(f"primer.{chapter}").__doc__.strip().splitlines()[0]
        rows = [(e, state(kept.get(e.id), folder)) for e in catalogue(chapter)]
        done = sum(words == "solved" for _, words in rows)
        solved, total = solved + done, total + len(rows)
        print(f"\n{title}\n  {'#' * done}{'.' * (len(rows) - done)}  {done} of {len(rows)}")
        if any(words != "to do" for _, words in rows):
            for exercise, words in rows:
                print(f"    {exercise.id:<22} {words}")
    print(f"\n{solved} of {total} exercises are solved, by the record of {folder / RECORD}")


def state(row, folder):
    """What the record says of an exercise  ->  str."""
    if row is None or row.get("todo"):
        return "to do"
    try:
        same = hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"]
    except OSError:
        return "checked once, the file is gone"
    words = "solved" if row["held"] == row["of"] else f"{row['held']} of {row['of']} hold"
    return words if same else f"{words} when last checked; {row['file']} has changed since"


def kills(arguments):
    """The matrix: a column for each property, a row for each mistake, X where it is caught; of
    systematic changes the share that is caught, and the others."""
    names = [report.chapter_of(c) for c in arguments.chapters] or report.chapters()
    caught = total = 0
    for exercise in tqdm([e for n in names for e in catalogue(n)], "exercises", disable=None,
                         leave=False):
        tqdm.write(f"\n{exercise.id}  {exercise.title}")
        properties = list(exercise.properties)
        if arguments.systematic:
            found = {w: catcher(m, properties) for w, m in systematic(exercise)}
            caught, total = caught + sum(map(bool, found.values())), total + len(found)
            tqdm.write(f"  {sum(map(bool, found.values()))} of {len(found)} are caught"
                       + "".join(f"\n  survives  {w}" for w, by in found.items() if not by))
            continue
        for i, prop in enumerate(properties):
            tqdm.write(f"  {' ' * i}| {prop.claim}")
        for mutant in exercise.mutants:
            row = [catches(p, build(exercise, mutant), sample(p)) for p in properties]
            tqdm.write(f"  {''.join('.X'[x] for x in row)}  {mutant.mistake}")
    if total:
        print(f"\n{caught} of {total} changes are caught: {caught / total:.1%}")


def assignment(arguments):
    """The instructor's notebook, for nbgrader."""
    paths = assignments.write(arguments.name, arguments.to)
    print(*paths, sep="\n")
    print(f"then: cd {arguments.to} && nbgrader generate_assignment {paths[0].stem} --create")


def precheck(arguments):
    """For a student, before the notebook is handed in; exit status 1 where it would go wrong."""
    path = Path(arguments.file)
    found = re.search(r"ps\d+", path.name)
    if not found:
        raise ValueError(f"FILE: expected a name as it was handed out, such as ps1.ipynb, got "
                         f"{path.name}")
    held, cells = assignments.load(found.group()), handed_in.read(path)
    wrong, todo = handed_in.complaints(held, cells), handed_in.unwritten(held, cells)
    for words in wrong:
        print(f"- {words}")
    if todo:
        print(f"not written yet, worth nothing so far: {', '.join(todo)}")
    if wrong:
        print(f"{path}: {len(wrong)} to mend; save, and run this again")
        raise SystemExit(1)
    print(f"{path}: every cell is in its place; hand it in")


def recheck_all(arguments):
    """Grades by the answers alone, compared with nbgrader's, as CSV."""
    if why := sandbox.missing():
        print(sandbox.WARNING.format(why=why), file=sys.stderr)
    name, course = assignments.load(arguments.name).name, Path(arguments.folder)
    students = len(recheck.submissions(name, course))
    rows, trouble = recheck.grades(arguments.name, course, lambda found: tqdm(
        found, "students", total=students, leave=False, disable=None))
    if trouble:
        print(f"not compared with nbgrader's points: {trouble}")
    for row in rows:
        if row["remarks"]:
            print(f"{row['student']}: {row['total']} points; {row['remarks']}")
    path = course / f"grades_{name}.csv"
    recheck.write(rows, path)
    print(f"{path}: {len(rows)} students, {sum(bool(r['remarks']) for r in rows)} with a remark")
