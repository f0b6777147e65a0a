"""Data: the committed files, the register, and every way in which a download goes wrong.

All servers are on 127.0.0.1; npm and pip are never run.
"""
import collections
import errno
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
import types
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close
from hypothesis import given
from hypothesis import strategies as st

from primer import data, fetch
from primer.ch03_bow import tokenize
from tests.makers import derived as derived_maker
from tests.makers import digits as digits_maker
from tests.makers import sotu as sotu_maker

# ---- the register and the committed files -------------------------------------------------------


def test_everything_committed_is_in_the_register_and_whole():
    committed = {e["file"]: e for e in data.register().values() if "file" in e}
    assert set(committed) == {f.name for f in data.DATASETS.iterdir()} - {"datasets.toml"}
    for name, e in committed.items():
        raw = (data.DATASETS / name).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (e["bytes"], e["sha256"]), name
        assert len(raw) < 5e6, f"{name} is not small"


@pytest.mark.parametrize("name", data.register())
def test_an_entry_of_the_register_is_complete(name):
    e = data.entry(name)
    assert e["title"] and e["licence"] and e["source"] and re.fullmatch("[0-9a-f]{64}", e["sha256"])
    if "file" in e:
        script = re.fullmatch(r"python -m (tests\.makers\.\w+)|by hand", e["made_by"])
        assert script[1] is None or (
            data.DATASETS.parent / f"{script[1].replace('.', '/')}.py").is_file()
    else:
        assert re.fullmatch(r"npm:.+@[\d.]+|pip:.+==[\d.]+", e["carrier"])
        assert e["members"] and e["unpacked"] > 0 and "root" in e
        assert e["carrier"].startswith("npm:") or e["archive"].endswith(".whl")


def test_no_address_stands_in_the_register_or_the_code():
    for file in (data.DATASETS / "datasets.toml", Path(data.__file__), Path(fetch.__file__)):
        assert not re.search(r"://\w|\.(org|com|net|io)\b", file.read_text(encoding="utf-8"))


def test_sotu():
    addresses = data.load_sotu()
    assert len(addresses) == 233
    years = [a["year"] for a in addresses]
    assert years == sorted(years) and (years[0], years[-1]) == (1790, 2021)
    assert addresses[0]["president"] == "George Washington" and addresses[0]["party"] == ""
    assert collections.Counter(a["party"] for a in addresses) == {
        "Republican": 92, "Democratic": 90, "Democratic-Republican": 28, "": 7, "Federalist": 4,
        "Whig": 4, "Whig & Democratic": 4, "National Union": 4}
    assert {a["president"] for a in addresses if "Kin" in a["president"]} == {"William McKinley"}


def test_sotu_paragraphs_are_flat_and_of_even_length():
    texts, about = data.sotu_paragraphs()
    assert len(texts) == len(about) == 17805
    assert about[0] == {"year": 1790, "president": "George Washington", "party": "", "paragraph": 1}
    words = np.array([len(t.split()) for t in texts])
    assert words.min() >= 20 and 95 < words.mean() < 105
    assert ((words >= 80) & (words <= 120)).mean() > 0.85
    assert not any(re.search(r"[\x00-\x1f]|&\w+;|^\s|\s$|  ", t) for t in texts)


def test_texts():
    texts = data.load_texts()
    assert texts["cat_mat"]["documents"] == ["The cat sat on the mat.", "The dog sat on the log."]
    assert len(texts["cat_dog"]["documents"]) == 3
    for name, t in texts.items():
        assert len(t["documents"]) == len(t["lines"]) > 0, name
        assert len(t.get("senses", t["lines"])) == len(t["lines"]), name
        assert t["lines"] == sorted(t["lines"]), name


@pytest.fixture
def tests_of_words(monkeypatch, tmp_path):
    """A cache with the files of word-tests, small and in the same form."""
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path))
    folder = tmp_path / "word-tests-4.4.0"
    folder.mkdir()
    for name, text in {"wordsim353.tsv": "# a test\n# Word 1\tWord 2\tmean\nlove\tsex\t6.77\n"
                                         "tiger\ttiger\t10.00\n",
                       "simlex999.txt": "# Word 1\tWord 2\tmean\r\nold\tnew\t1.58\r\n",
                       "questions-words.txt": ": capital world\nAthens Greece Rome Italy\n\n"
                                              ": family\nboy girl he she\nhe she son daughter\n",
                       }.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


def test_word_pairs(tests_of_words):
    pairs, scores = data.word_pairs("wordsim353")
    assert pairs == [("love", "sex"), ("tiger", "tiger")]
    assert_close(scores, [6.77, 10.0])
    pairs, scores = data.word_pairs("simlex999")
    assert pairs == [("old", "new")] and scores.tolist() == [1.58]
    with pytest.raises(LookupError, match="'ws'; there are wordsim353 and simlex999"):
        data.word_pairs("ws")


@pytest.mark.parametrize("line, words", [("love\tsex", "expected 3 columns, got .'love', 'sex'."),
                                         ("love\tsex\tmuch", "could not convert .*much"),
                                         ("love sex 3", "expected 3 columns")])
def test_damaged_word_pairs_are_refused(tests_of_words, line, words):
    (tests_of_words / "simlex999.txt").write_text(f"old\tnew\t1.58\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        data.word_pairs("simlex999")


def test_analogy_questions(tests_of_words):
    assert data.analogy_questions() == {
        "capital world": [("Athens", "Greece", "Rome", "Italy")],
        "family": [("boy", "girl", "he", "she"), ("he", "she", "son", "daughter")]}


@pytest.mark.parametrize("text, line", [(": a\nb c d e\nb c d\n", 3), ("b c d e\n", 1),
                                        (":\nb c d e\n", 1)])
def test_damaged_questions_are_refused(tests_of_words, text, line):
    (tests_of_words / "questions-words.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"words.txt, line {line}: expected ': section' or 4"):
        data.analogy_questions()


@pytest.mark.parametrize("read", [lambda: data.word_pairs("simlex999"), data.analogy_questions])
def test_word_tests_that_are_not_fetched_say_how(monkeypatch, tmp_path, read):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match="python -m primer data get word-tests"):
        read()


def test_derived_words():
    rows = data.derived_words()
    counts = collections.Counter(tokenize(" ".join(data.sotu_paragraphs()[0])))
    assert 1000 < len(rows) == len({row[0] for row in rows})
    assert ("safeness", "safe", "dependable", "integrated") in rows
    for derived, base, alike, unlike in rows:
        assert derived[:4] == base[:4] and len(derived) > len(base) and not counts[derived]
        assert min(counts[base], counts[alike], counts[unlike]) >= derived_maker.FREQUENT
        assert not derived_maker.grams(derived) & derived_maker.grams(alike)
        assert not derived_maker.grams(derived) & derived_maker.grams(unlike)


def test_derived_words_can_be_made_again(tmp_path):
    """From a WordNet of five synsets: "safeness" comes from that sense of "safe" which is beside
    "secure"; "peaceful" may be the unlike word, "free" may not: another sense of "safe" has it."""
    def line(offset, kind, words, pointers, gloss="a gloss"):
        listed = " ".join(f"{w} 0" for w in words.split())
        return (f"{offset:08} 00 {kind} {len(words.split()):02x} {listed} "
                f"{len(pointers):03} {' '.join(pointers)} | {gloss}  \n")

    files = {"data.noun": line(1, "n", "safeness", ["+ 00000002 a 0101"]), "data.verb": "",
             "data.adv": "", "data.adj": "".join([
                 line(2, "a", "safe", ["& 00000003 a 0000"]), line(3, "s", "secure", []),
                 line(4, "a", "safe free", []), line(5, "a", "peaceful", [])]),
             "index.sense": "".join(f"{w}%3:00:00:: {n:08} 1 9\n" for w, n in (
                 ("safe", 2), ("secure", 3), ("free", 4), ("peaceful", 5)))}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    made = derived_maker.build(tmp_path)
    assert made.decode().splitlines()[1:] == ["safeness\tsafe\tsecure\tpeaceful"]
    assert made == derived_maker.build(tmp_path)


def test_digits():
    images, labels = data.load_digits()
    assert images.shape == (1797, 64) and images.dtype == np.uint8
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert images.min() == 0 and images.max() == 16
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_can_be_made_again():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    made = np.load(io.BytesIO(digits_maker.build()), allow_pickle=False)
    images, labels = data.load_digits()
    assert_close(made["images"], images)
    assert_close(made["labels"].astype(np.int64), labels)
    assert digits_maker.build() == digits_maker.build()


def test_sotu_can_be_made_again(tmp_path):
    """From the passages glued together again: the rule alone decides where they are cut."""
    for i, a in enumerate(data.load_sotu()):
        record = {"year": a["year"], "name": a["president"], "party": a["party"] or "none",
                  "text": " ".join(a["paragraphs"])}
        (tmp_path / f"{i:03}.json").write_text(json.dumps(record), encoding="utf-8")
    made = sotu_maker.build(tmp_path)
    assert gzip.decompress(made) == gzip.decompress(data.path("sotu").read_bytes())
    assert made[4:8] == bytes(4)                                     # no time stamp


@pytest.mark.parametrize("text, number", [
    ("One. Two! Three? Four", 4), ("The U.S. Army and Mr. Lee met Dr. Who. He left.", 2),
    ("See No. 5 and Gen. J. K. Smith. Yes.", 2), ('He said "Go." Then "Stay!" Done.', 3),
    ("It cost 3.5 million. 1901 was dear.", 2), ("so be it. and so on", 1), ("", 0), ("  ", 0),
    ("of evil.Each man", 2), ("(Applause.) Thank you. [Laughter] So.", 3)])
def test_sentences(text, number):
    assert len(sotu_maker.sentences(text)) == number, sotu_maker.sentences(text)


@given(st.text(alphabet="ab A.!?\"')U.S.Mr.1 ", max_size=80))
def test_no_letter_is_lost_between_sentences_or_passages(text):
    for pieces in (sotu_maker.sentences(text), sotu_maker.passages(text * 9)):
        assert all(p.strip() == p != "" for p in pieces)
    assert "".join("".join(sotu_maker.sentences(text)).split()) == "".join(text.split())
    assert "".join("".join(sotu_maker.passages(text * 9)).split()) == "".join((text * 9).split())


# ---- names, places, states ----------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest_names():
    for call in (data.path, data.get, data.entry):
        with pytest.raises(LookupError, match="'wordnt'; did you mean wordnet"):
            call("wordnt")
    with pytest.raises(LookupError, match="there are sotu, texts"):
        data.path("zzzzz")
    with pytest.raises(LookupError):
        data.path(3)


def test_the_cache_folder(monkeypatch, tmp_path):
    for name in ("PRIMER_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(data.Path, "home", lambda: tmp_path)
    if os.name != "nt":
        assert data.cache() == tmp_path / ".cache" / "embeddings-primer"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert data.cache() == tmp_path / "xdg" / "embeddings-primer"
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "mine"))
    assert data.cache() == tmp_path / "mine"
    monkeypatch.setenv("PRIMER_DATA", "here")
    assert data.cache().is_absolute()


def test_get_of_committed_data_is_its_path():
    assert data.get("digits") == data.path("digits") == data.DATASETS / "digits.npz"


# ---- a toy register, a toy archive, a toy server ------------------------------------------------

ARCHIVE_BYTES = np.random.default_rng(0).bytes(300_000)              # does not compress
FILES = {"package/dict/big.bin": ARCHIVE_BYTES, "package/dict/words.txt": b"cat\nmat\n",
         "package/install.js": b"evil()", "package/LICENSE": b"free"}


def tar_bytes(files, links=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def zip_bytes(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


TAR = tar_bytes(FILES)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, body, start = self.server, self.server.body, 0
        server.ranges.append(self.headers.get("Range"))
        if server.status:
            self.send_error(server.status)
            return
        if server.ranged and (asked := re.fullmatch(r"bytes=(\d+)-", server.ranges[-1] or "")):
            start = int(asked[1])
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            start = 0 if server.lies else start
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.tells_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts else len(body)
        try:
            self.wfile.write(body[start:end])
            self.wfile.flush()
            if end < len(body) and server.go.wait(server.stall):
                self.wfile.write(body[end:])
        except OSError:
            pass                                                     # the client has gone

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server of TAR that logs the ranges asked for, and can be told to misbehave."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as s:
        s.body, s.ranges, s.cuts, s.status, s.stall = TAR, [], [], None, 0
        s.ranged, s.lies, s.tells_length, s.go = True, False, True, threading.Event()
        s.url = f"http://127.0.0.1:{s.server_port}/toy-1.0.0.tgz"
        thread = threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield s
        s.go.set()
        s.shutdown()
        thread.join()


def write_register(folder, body=TAR, **changes):
    e = {"title": "Toy", "licence": "free", "source": "here", "carrier": "npm:toy@1.0.0",
         "root": "package", "members": ["dict/*", "LICENSE"], "bytes": len(body), "unpacked": 1,
         "sha256": hashlib.sha256(body).hexdigest(), **changes}
    lines = [f"{k} = {json.dumps(v)}" for k, v in e.items() if v is not None]
    (folder / "datasets.toml").write_text("[toy]\n" + "\n".join(lines), encoding="utf-8")
    data.register.cache_clear()


@pytest.fixture
def toy(monkeypatch, tmp_path, server):
    """A register with the entry toy, a cache of its own, and npm replaced by the server."""
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "DATASETS", tmp_path)
    monkeypatch.setattr(fetch, "run_client", lambda *_: f"{server.url}\n")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    write_register(tmp_path)
    data._committed.cache_clear()
    yield tmp_path / "cache"
    data.register.cache_clear()
    data._committed.cache_clear()


def get():
    return data.get("toy", progress=False)


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ---- fetching -----------------------------------------------------------------------------------


def test_get_writes_the_listed_members_and_nothing_else(toy, server, capfd):
    assert data.listing() == [{"name": "toy", "title": "Toy", "size": len(TAR), "licence": "free",
                               "where": "not fetched"}]
    assert list(data.verify()) == [("toy", "not fetched")]
    with pytest.raises(data.DataError, match="python -m primer data get toy"):
        data.path("toy")
    folder = get()
    assert capfd.readouterr() == ("", "")
    assert folder == data.path("toy") == toy / "toy-1.0.0"
    assert names(folder) == ["LICENSE", "SHA256SUMS", "dict/big.bin", "dict/words.txt"]
    assert (folder / "dict/big.bin").read_bytes() == ARCHIVE_BYTES
    assert names(toy) == sorted([f"toy-1.0.0/{n}" for n in names(folder)] + ["toy-1.0.0.lock"])
    assert list(data.verify()) == [("toy", "ok")] and data.listing()[0]["where"] == "fetched"
    assert get() == folder and len(server.ranges) == 1              # there already: no request


def test_progress_is_shown_on_standard_error(toy, capfd):
    data.get("toy")
    out, err = capfd.readouterr()
    assert out == "" and "toy@1.0.0 by way of npm" in err and "100%" in err


def test_a_cut_off_download_is_kept_and_goes_on(toy, server):
    server.cuts = [100_000, 200_000]
    for kept in (100_000, 200_000):
        with pytest.raises(data.DataError, match="cut off .* run the same command again"):
            get()
        assert names(toy) == ["toy-1.0.0.archive.part", "toy-1.0.0.lock"]
        assert (toy / "toy-1.0.0.archive.part").read_bytes() == TAR[:kept]
    get()
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert list(data.verify()) == [("toy", "ok")]


def test_a_broken_connection_is_not_taken_for_a_full_disk(toy, monkeypatch):
    def blocks(self, n):
        raise ConnectionResetError("reset by peer")
    with monkeypatch.context() as patch:
        patch.setattr("http.client.HTTPResponse.read", blocks)
        with pytest.raises(data.DataError, match="cut off .reset by peer"):
            get()
    get()


@pytest.mark.parametrize("trait", [{"ranged": False}, {"lies": True}, {"tells_length": False}])
def test_servers_that_cannot_go_on(toy, server, trait):
    server.cuts = [100_000]
    with pytest.raises(data.DataError, match="cut off"):
        get()
    vars(server).update(trait)
    get()
    assert list(data.verify()) == [("toy", "ok")]


@pytest.mark.parametrize("size", [None, len(TAR)])
@pytest.mark.parametrize("have", [0, 1, len(TAR) - 1, len(TAR), len(TAR) + 5])
def test_download_goes_on_from_any_length(tmp_path, server, size, have):
    """Too long a part begins anew, whether the size is known or the server says 416."""
    (tmp_path / "a.part").write_bytes((TAR + b"12345")[:have])
    fetch.download(server.url, tmp_path / "a", hashlib.sha256(TAR).hexdigest(), size)
    assert (tmp_path / "a").read_bytes() == TAR and names(tmp_path) == ["a"]


def test_a_server_without_length_or_register_size_is_checked_by_its_sum(tmp_path, server):
    server.tells_length = False
    fetch.download(server.url, tmp_path / "a", hashlib.sha256(TAR).hexdigest())
    server.cuts = [1000]
    with pytest.raises(data.DataError, match="wrong checksum"):
        fetch.download(server.url, tmp_path / "b", hashlib.sha256(TAR).hexdigest())
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("body", [TAR[:-1] + b"?", TAR + b"more", TAR + bytes(10**6)])
def test_wrong_bytes_are_deleted_and_both_sums_named(toy, server, body):
    server.body, server.tells_length = body, False
    with pytest.raises(data.DataError, match="wrong checksum") as caught:
        get()
    assert hashlib.sha256(TAR).hexdigest() in str(caught.value)
    assert len(set(re.findall("[0-9a-f]{64}", str(caught.value)))) == 2
    assert names(toy) == ["toy-1.0.0.lock"]
    server.body = TAR
    get()                                                            # and nothing stands in the way


def test_an_endless_answer_is_not_read_to_its_end(toy, server, monkeypatch):
    server.body, server.tells_length, sizes = TAR + bytes(10**7), False, []
    monkeypatch.setattr(fetch, "check", lambda file, _: sizes.append(file.stat().st_size))
    get()
    assert len(TAR) < sizes[0] <= len(TAR) + fetch.BLOCK


def test_a_spoilt_part_is_found_out(toy, server):
    toy.mkdir()
    (toy / "toy-1.0.0.archive.part").write_bytes(b"x" * 1000)
    with pytest.raises(data.DataError, match="wrong checksum"):
        get()
    get()
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_if_python_cannot_reach_it_the_client_downloads(toy, server, monkeypatch, status):
    server.status, calls = status, []

    def client(kind, *arguments):
        calls.append(arguments)
        if "--pack-destination" in arguments:
            with open(os.path.join(arguments[-1], "toy.tgz"), "wb") as out:
                out.write(TAR)
        return server.url
    monkeypatch.setattr(fetch, "run_client", client)
    get()
    assert calls[1][:3] == ("pack", "toy@1.0.0", "--ignore-scripts")
    assert list(data.verify()) == [("toy", "ok")] and not (toy / "toy-1.0.0.archive.npm").exists()


def test_the_same_if_nobody_answers_and_the_client_brings_wrong_bytes(toy, monkeypatch):
    def client(kind, *arguments):
        if "--pack-destination" in arguments:
            with open(os.path.join(arguments[-1], "toy.tgz"), "wb") as out:
                out.write(b"not it")
        return "http://127.0.0.1:1/nobody"
    monkeypatch.setattr(fetch, "run_client", client)
    with pytest.raises(data.DataError, match="wrong checksum"):
        get()
    assert not (toy / "toy-1.0.0").exists()


def test_pip_says_where_a_wheel_lies(monkeypatch):
    said = ("  Skipping link: http://h/a/toy_data-1.0.0-py3-none-any.whl.metadata\n"
            "  Found link http://h/b/toy_data-1.0.0-py3-none-any.whl#sha256=0 (from x), version: 1")
    monkeypatch.setattr(fetch, "run_client", lambda *_: said)
    wheel = "toy_data-1.0.0-py3-none-any.whl"
    assert fetch.locate("pip", "toy-data==1.0.0", wheel) == f"http://h/b/{wheel}"
    with pytest.raises(fetch.Unreachable, match="pip names no address"):
        fetch.locate("pip", "toy-data==2.0.0", "toy_data-2.0.0-py3-none-any.whl")


def test_pip_downloads_without_building(monkeypatch, tmp_path):
    def client(kind, *arguments):
        assert kind == "pip" and {"--no-deps", "--only-binary=:all:"} < set(arguments)
        with open(os.path.join(arguments[-1], "toy.whl"), "wb") as out:
            out.write(b"wheel")
    monkeypatch.setattr(fetch, "run_client", client)
    fetch.download_by_client("pip", "toy==1.0.0", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"wheel" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("file, tags", [
    ("toy-1.0.0-py3-none-any.whl", []),
    ("toy-1.0-cp313-cp313-win_amd64.whl", ["--python-version", "313", "--implementation", "cp",
                                           "--abi", "cp313", "--platform=win_amd64"]),
    ("toy-1.0-cp39-abi3-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl", [
        "--python-version", "39", "--implementation", "cp", "--abi", "abi3",
        "--platform=manylinux_2_24_x86_64", "--platform=manylinux_2_28_x86_64"])])
def test_pip_is_asked_for_the_wheel_of_another_system(monkeypatch, tmp_path, file, tags):
    def client(kind, *arguments):
        assert arguments == ("download", "toy==1.0", "--no-deps", "--only-binary=:all:", *tags,
                             "-d", str(tmp_path / "a.pip"))
        (tmp_path / "a.pip/toy.whl").write_bytes(b"wheel")
    monkeypatch.setattr(fetch, "run_client", client)
    fetch.download_by_client("pip", "toy==1.0", tmp_path / "a", file)
    assert (tmp_path / "a").read_bytes() == b"wheel"


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    monkeypatch.setattr(fetch, "find_spec", lambda _: None)
    with pytest.raises(data.DataError, match="npm is not installed"):
        fetch.run_client("npm", "view")
    with pytest.raises(data.DataError, match="pip is not installed for .* ensurepip"):
        fetch.run_client("pip", "index")


def test_a_client_that_fails_is_quoted(monkeypatch):
    monkeypatch.setattr(fetch.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(
        a, 1, "", "npm warn old\nnpm error code ENOTFOUND\nnpm error at home\n"))
    monkeypatch.setattr(fetch.shutil, "which", lambda _: "npm")
    with pytest.raises(data.DataError, match="online.\n  npm error code ENOTFOUND\n  npm error at"):
        fetch.run_client("npm", "view", "toy@1.0.0")


# ---- the disk -----------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written(toy):
    toy.write_text("a file where the folder should be")              # root ignores permissions
    with pytest.raises(data.DataError, match="cannot write to the cache folder .*PRIMER_DATA"):
        get()


def test_a_full_disk_names_the_folder_and_keeps_what_came(toy, monkeypatch):
    class Full(io.FileIO):
        def write(self, block):
            if self.tell() > 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(block)

    def full_open(file, mode="r", **kwargs):
        return Full(file, mode) if "w" in mode or "a" in mode else open(file, mode, **kwargs)
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "open", full_open, raising=False)
        with pytest.raises(data.DataError, match=f"{toy}.*No space left.*PRIMER_DATA"):
            get()
    assert (toy / "toy-1.0.0.archive.part").stat().st_size > 100_000
    assert not (toy / "toy-1.0.0").exists()
    get()


def test_damage_is_seen_and_repaired(toy, server):
    folder = get()
    for spoil in (lambda: (folder / "dict/words.txt").write_bytes(b"cat\nmap\n"),
                  lambda: (folder / "LICENSE").unlink(), lambda: (folder / "SHA256SUMS").unlink(),
                  lambda: (folder / "SHA256SUMS").write_bytes(b""),
                  lambda: (folder / "SHA256SUMS").write_bytes(b"\xff\xfe")):
        spoil()
        assert list(data.verify()) == [("toy", "damaged")]
        assert get() == folder and list(data.verify()) == [("toy", "ok")]
        assert (folder / "dict/words.txt").read_bytes() == b"cat\nmat\n"


def test_committed_damage_is_seen(toy):
    whole = hashlib.sha256(b"whole").hexdigest()
    write_register(toy.parent, file="toy.txt", carrier=None, made_by="by hand", sha256=whole)
    with pytest.raises(data.DataError, match="toy.txt is missing; .*by hand"):
        data.path("toy")
    (toy.parent / "toy.txt").write_bytes(b"damaged")
    with pytest.raises(data.DataError, match="toy.txt is damaged"):
        data.path("toy")
    assert list(data.verify()) == [("toy", "damaged")]
    (toy.parent / "toy.txt").write_bytes(b"whole")
    assert data.path("toy") == toy.parent / "toy.txt" and list(data.verify()) == [("toy", "ok")]
    assert data.listing()[0]["where"] == "committed"


def test_a_missing_register_says_so(toy):
    (toy.parent / "datasets.toml").unlink()
    data.register.cache_clear()
    with pytest.raises(data.DataError, match="datasets.toml is missing"):
        data.path("toy")


# ---- archives -----------------------------------------------------------------------------------


def serve(toy, server, body, **changes):
    server.body = body
    write_register(toy.parent, body, **changes)


def test_a_wheel_and_a_zip_within_it(toy, server):
    inner = zip_bytes({"config.json": b"{}", "1/config.json": b"[]", "run.py": b"evil()"})
    wheel = zip_bytes({"toy/__init__.py": b"evil()", "toy/data/a.npy": b"a", "toy/m.zip": inner})
    serve(toy, server, wheel, root="toy/data", members=["a.npy"])
    assert names(get()) == ["SHA256SUMS", "a.npy"]
    serve(toy, server, wheel, inner="toy/m.zip", root="", members=["*.json"], carrier="npm:toy@2")
    assert names(get()) == ["1/config.json", "SHA256SUMS", "config.json"]


@pytest.mark.parametrize("member", ["package/../../out.txt", "package//etc/../../out.txt",
                                    "package/C:\\out.txt", "package/..\\out.txt"])
@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_members_that_would_leave_the_folder_are_refused(toy, server, pack, member):
    serve(toy, server, pack({member: b"x"}), members=["*"])
    with pytest.raises(data.DataError, match="refused a member that leaves the folder"):
        get()
    assert not (toy / "toy-1.0.0").exists() and not list(toy.parent.rglob("*out.txt"))


def test_absolute_names_and_links_are_not_members(toy, server):
    body = tar_bytes({"/package/a.txt": b"x"}, links=[("package/b.txt", "/etc/passwd")])
    serve(toy, server, body, members=["*.txt"])
    with pytest.raises(data.DataError, match="no member \\*.txt"):
        get()


@pytest.mark.parametrize("changes", [{"members": ["dict/*", "README"]}, {"root": "elsewhere"}])
def test_a_missing_member_is_named(toy, changes):
    write_register(toy.parent, **changes)
    with pytest.raises(data.DataError, match="has no member"):
        get()
    assert not (toy / "toy-1.0.0").exists()


def test_a_missing_inner_archive_is_named(toy, server):
    serve(toy, server, zip_bytes({"a": b"a"}), inner="m.zip", root="")
    with pytest.raises(data.DataError, match="no member m.zip"):
        get()


ZIP = zip_bytes(FILES)


@pytest.mark.parametrize("body", [
    b"no archive", gzip.compress(b"no tar", mtime=0), TAR[:150_000], TAR[:-30] + bytes(30),
    ZIP[:100_000] + bytes(1000) + ZIP[101_000:]])
def test_a_corrupt_archive_is_an_error_and_leaves_no_folder(toy, server, body):
    """The sum is right, so the archive was corrupt when it was registered."""
    serve(toy, server, body)
    with pytest.raises(data.DataError, match="is corrupt|has no member"):
        get()
    assert not (toy / "toy-1.0.0").exists()


def test_unpacking_goes_on_without_a_second_download(toy, server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(data, "unpack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            get()
    (toy / "toy-1.0.0.unpacking").mkdir()
    (toy / "toy-1.0.0.unpacking" / "rest").write_text("of a process that died")
    assert names(get()) == ["LICENSE", "SHA256SUMS", "dict/big.bin", "dict/words.txt"]
    assert len(server.ranges) == 1


# ---- two processes ------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from primer import data, fetch
data.DATASETS = Path(sys.argv[1])
fetch.run_client = lambda *_: sys.argv[2]
print("ready", flush=True)
print(data.get("toy", progress=False), flush=True)
"""


def child(toy, server):
    return subprocess.Popen([sys.executable, "-c", CHILD, str(toy.parent), server.url],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened within a minute"
        time.sleep(0.02)


def test_two_processes_at_once_fetch_once(toy, server):
    server.cuts, server.stall = [250_000], 60
    children = [child(toy, server) for _ in range(3)]
    assert [c.stdout.readline() for c in children] == ["ready\n"] * 3
    wait_for(lambda: server.ranges)
    time.sleep(0.3)                                                  # two wait for the lock
    server.go.set()
    said = [c.communicate(timeout=60)[0] for c in children]
    assert said == [f"{toy / 'toy-1.0.0'}\n"] * 3
    assert server.ranges == [None] and list(data.verify()) == [("toy", "ok")]


def test_a_killed_process_leaves_no_lock_and_its_part_is_used(toy, server, monkeypatch):
    said = []
    monkeypatch.setattr(fetch, "say", lambda progress, words: said.append(words) if progress else 0)
    server.cuts, server.stall = [250_000], 60
    part = toy / "toy-1.0.0.archive.part"
    with child(toy, server) as first:
        wait_for(lambda: part.exists() and part.stat().st_size >= 100_000)
        second = threading.Thread(target=data.get, args=("toy",))
        second.start()                                               # waits for the first one
        wait_for(lambda: any("another process" in words for words in said))
        assert second.is_alive() and len(server.ranges) == 1
        first.kill()
    second.join(60)
    assert list(data.verify()) == [("toy", "ok")]
    assert re.fullmatch(r"bytes=[12]\d{5}-", server.ranges[1])       # it went on from the part


# ---- a folder of one's own ----------------------------------------------------------------------


def test_read_folder(tmp_path):
    (tmp_path / "b" / ".git").mkdir(parents=True)
    for name, text in {"b/z.md": "zeta", "a.txt": "\ufeffalpha\n", "B.TXT": "beta", "c.csv": "no",
                       ".hidden.txt": "no", "b/.git/x.txt": "no", "blank.txt": " \n\n ",
                       "b/long.txt": f"one\n\n \n{'two ' * 600}\r\n\r\nthree\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    documents, found = data.read_folder(str(tmp_path))
    assert found == ["B.TXT", "a.txt", "b/long.txt#1", "b/long.txt#2", "b/long.txt#3", "b/z.md"]
    assert documents == ["beta", "alpha", "one", ("two " * 600).strip(), "three", "zeta"]
    assert len(data.read_folder(tmp_path, longest=10_000)[0]) == 4


def test_read_folder_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        data.read_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no text"):
        data.read_folder(tmp_path)
    (tmp_path / "a.txt").write_bytes("Übung".encode() + b"abc\xff\n")
    with pytest.raises(ValueError, match="a.txt is not UTF-8: byte 0xff at offset 9"):
        data.read_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="a.txt is not a folder"):
        data.read_folder(tmp_path / "a.txt")


def test_glove_is_read_with_the_extra_or_says_which(monkeypatch, tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "glove_6B_50d_emb.npy", vectors)
    monkeypatch.setattr(data, "path", lambda name: tmp_path)
    column = types.SimpleNamespace(type="large_string", to_pylist=lambda: ["the", "of"])
    other = types.SimpleNamespace(type="int64")
    parquet = types.SimpleNamespace(read_table=lambda file: types.SimpleNamespace(
        columns=[other, column] if file == tmp_path / "glove_6B_index.parquet" else []))
    monkeypatch.setitem(sys.modules, "pyarrow", types.SimpleNamespace(parquet=parquet))
    found = data.load_glove()
    assert found.words == ["the", "of"] and np.array_equal(found.vectors, vectors)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(data.DataError, match=r"pip install -e '\.\[glove\]'"):
        data.load_glove()
