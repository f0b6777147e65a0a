"""Inputs that properties draw: to replay on another function, and to keep for the next check.

Drawing is most of what a check takes.  `start` keeps a chapter's in the user's cache, JSON, a file
a property; where the catalogue, the chapter, NumPy or Hypothesis has changed they are drawn anew.
What grades other people never reads them.
"""
import copy
import dataclasses
import functools
import importlib
import importlib.metadata
import json
import zlib
from pathlib import Path

from primer import data
from primer.exercises.expectations import Guarded
from primer.exercises.kit import Effort, Hang, UnsatisfiedAssumption, alarm, quiet, run_property
from primer.exercises.packing import pack, unpack
from primer.formats.files import replaced

HERE = Path(__file__).parent


@functools.cache
def _version(chapter):
    """A checksum of what draws the chapter's inputs."""
    found = [file.read_bytes() for file in (
        HERE / "kit.py", *sorted(HERE.glob(f"{chapter}*.py")), *sorted(HERE.parent.glob(
            f"{chapter}*.py")))]                         # its parts, too
    found += [importlib.metadata.version(p).encode() for p in ("hypothesis", "numpy")]
    return f"{zlib.crc32(b''.join(found)):08x}"


def _file(prop, effort):
    package, _, chapter = prop.check.__module__.rpartition(".")
    if package != __package__ or not chapter.startswith("ch"):
        return None                                      # a property of somebody's own
    tried = f"{prop.name}-{effort.examples}-{effort.seed}"
    return data.cache() / "drawn" / f"{prop.exercise}.{tried}.{_version(chapter)}.json"


@functools.lru_cache(1024)
def recall(prop, effort):
    """What `keep` kept  ->  list of dict; () for nothing, or nothing of these versions."""
    file = _file(prop, effort)
    try:
        return file and [{name: unpack(v) for name, v in one.items()}
                         for one in json.loads(file.read_text("utf-8"))] or ()
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return ()


def keep(prop, effort, inputs):
    """Write them, in place of those of other versions; where that cannot be, leave it."""
    file = _file(prop, effort)
    try:
        text = file and json.dumps([{k: pack(v) for k, v in one.items()} for one in inputs])
        if not file or file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in file.parent.glob(f"{file.name.rsplit('.', 2)[0]}.*.json"):
            old.unlink(missing_ok=True)
        with replaced(file) as out:
            out.write(text.encode())
    except (OSError, TypeError):
        return
    recall.cache_clear()


@functools.cache
def sample(prop, reference, effort):
    """The inputs that run_property tries on the reference, to replay  ->  list of dict."""
    if before := recall(prop, effort):
        return before
    kept = []

    def check(impl, **inputs):
        before = copy.deepcopy(inputs)
        prop.check(impl, **inputs)
        kept.append(before)

    run_property(dataclasses.replace(prop, check=check), importlib.import_module(reference), effort)
    return kept


def catches(prop, source, inputs):
    """Whether a property does not hold on one of these inputs: what run_property would find, in a
    tenth of its time  ->  bool."""
    impl = Guarded(source, prop.functions)
    for one in inputs:
        try:
            with quiet(), alarm(Effort.call_seconds):
                prop.check(impl, **copy.deepcopy(one))
        except UnsatisfiedAssumption:
            pass
        except (Exception, Hang):
            return True
    return False


def catcher(exercise, module, properties, seed=0):
    """The first of the properties that notices a mistake with a student's effort, or None; it is
    moved to the front, as it is likely to notice the next one."""
    found = next((p for p in properties if catches(p, module, sample(
        p, exercise.reference, Effort(seed=seed)))), None)
    properties.sort(key=lambda p: p is not found)
    return found
