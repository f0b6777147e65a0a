"""The command line: what it prints, and what it says when the input is bad."""
import json

import numpy as np
import pytest

from primer import claims
from primer.__main__ import highlight, main
from primer.figures.tour import chapters


def run(capsys, *arguments):
    """-> exit code, standard output, standard error."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# The verdict on each recomputed line of the text, in its order: a change must be meant.
VERDICTS = {
    "right": {
        1: [129, 172, 172, 185, 203],
        2: [240, 242, 246, 266, 269, 272, 275, 283, 285, 286, 290, 293, 293, 297, 300, 315,
            343, 347, 354, 1177, 1214],
        3: [422, 423, 427, 431, 432, 444, 469, 471, 1478, 1480, 1481, 1482, 1485],
        4: [495, 496, 497, 498, 499, 500, 504, 505, 506, 507, 508, 509, 513, 514, 515, 516,
            525, 526, 1493, 1494, 1495],
        5: [565, 585, 586, 588, 589, 590, 612, 672, 1541],
        6: [783, 793, 828, 844, 852, 866, 921],
        7: [927, 929, 933, 936, 946, 947, 950, 1010],
        8: [964, 979, 983, 994, 1000, 1011],
        9: [1025, 1032, 1044, 1164, 1175, 1183, 1243, 1245],
        10: [1071, 1073, 1080, 1096, 1100, 1111],
        11: [1304, 1320, 1337, 1556],
        12: [1354, 1354, 1356, 1365, 1372, 1379, 1381],
        13: [224, 228, 392, 394, 1197, 1209, 1240, 1264, 1271, 1280],
        14: [1399, 1410, 1419, 1430, 1441, 1452, 1460, 1463, 1465, 1465, 1465, 1465, 1465, 1568,
             1571],
        15: [1654, 1839, 1840, 2024, 2026, 2122, 2128, 2136],
    },
    "wrong": {
        2: [265, 308, 344, 1046],
        3: [1472, 1535],
        4: [476, 495, 496, 497, 498, 499, 500, 517, 518, 1497],
        5: [552, 676],
        6: [707, 728, 805, 836, 865, 865, 866, 866, 887],
        7: [922, 940, 944, 946, 1285],
        8: [990, 1000, 1004, 1006, 1223],
        9: [1045, 1149, 1154, 1178],
        10: [1090, 1090, 1091, 1121],
        11: [1314, 1314, 1337, 1438],
        12: [1349, 1365],
        13: [1214, 1293],
        14: [1293, 1372, 1524, 1571],
        15: [1639, 1839, 1853, 2115, 2115],
    },
    "illustrative": {
        2: [281, 289, 329, 339],
        4: [1505, 1509, 1514, 1523, 1526],
        5: [561, 566, 567, 568, 1501, 1501],
        10: [1090],
        12: [1560],
    },
}


def test_claims_as_json(capsys):
    code, out, _ = run(capsys, "claims", "--json")
    rows = json.loads(out)
    assert code == 0 and len(rows) == len(claims.rows())
    for row in rows:
        assert list(row) == ["chapter", "line", "claim", "text", "computed", "verdict", "note"]
        assert row["verdict"] in ("right", "wrong", "illustrative")
        assert row["verdict"] == "right" or row["note"], "not right: say why"


def test_the_verdicts_stand():
    for verdict, by_chapter in VERDICTS.items():
        now = {}
        for row in claims.rows():
            if row["verdict"] == verdict:
                now.setdefault(row["chapter"], []).append(row["line"])
        assert now == by_chapter, verdict


def test_claims_of_one_chapter(capsys):
    code, out, _ = run(capsys, "claims", "--chapter", "5")
    assert code == 0 and "ch05" in out and "ch04" not in out
    code, out, err = run(capsys, "claims", "--chapter", "99")
    assert code == 1 and "--chapter" in err and not out


def test_an_agreement_is_to_the_digits_printed():
    def verdict(text, value, digits):
        return claims.Claim(1, "", text, lambda: value, digits).row(1)["verdict"]
    assert verdict(0.173, np.log(2) / 4, 3) == "right"
    assert verdict(0.139, np.log(2) / 4, 3) == "wrong"
    assert verdict([0.173, 0], [np.log(2) / 4], 3) == "wrong"
    assert verdict(0.173, np.nan, 3) == "wrong"
    assert verdict("same", "other", 3) == "wrong"


def test_search_as_json(capsys):
    code, out, _ = run(capsys, "search", "national bank", "-k", "3", "--json")
    hits = json.loads(out)
    assert code == 0 and [hit["rank"] for hit in hits] == [1, 2, 3]
    for hit in hits:
        assert list(hit) == ["rank", "score", "document", "text", "terms"]
        assert set(hit["terms"]) <= {"national", "bank"}
        assert abs(sum(hit["terms"].values()) - hit["score"]) < 1e-4
        assert all(term in hit["text"].lower() for term in hit["terms"])
    assert [hit["score"] for hit in hits] == sorted((h["score"] for h in hits), reverse=True)


def test_both_back_ends_find_the_same(capsys, tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat on the mat", "utf-8")
    (tmp_path / "b.md").write_text("the dog sat on the log", "utf-8")
    outs = [run(capsys, "search", "the cat", "--corpus", str(tmp_path), "--json", "--backend", b)[1]
            for b in ("numpy", "numba")]
    assert outs[0] == outs[1]
    assert [hit["document"] for hit in json.loads(outs[0])] == ["a.txt", "b.md"]


def test_search_for_people(capsys):
    code, out, _ = run(capsys, "search", "Panama canal", "-k", "1")
    assert code == 0 and "*canal*" in out.lower() and "panama" in out and "paragraph" in out


def test_a_query_without_a_known_word_is_no_error(capsys):
    code, out, _ = run(capsys, "search", "zzyzx")
    assert code == 0 and "no document" in out
    code, out, _ = run(capsys, "search", "zzyzx", "--json")
    assert code == 0 and json.loads(out) == []


@pytest.mark.parametrize("arguments, words", [
    (["search", "x", "-k", "0"], "k: expected at least 1"),
    (["search", "x", "--corpus", "no/such/folder"], "no/such/folder"),
    (["data", "get", "wordnett"], "wordnet"),
    (["data", "get"], "expected a name"),
])
def test_bad_input_is_named(capsys, arguments, words):
    code, out, err = run(capsys, *arguments)
    assert code == 1 and err.startswith("error: ") and words in err and not out
    assert "Traceback" not in err


def test_a_folder_that_is_not_utf8_or_empty(capsys, tmp_path):
    code, _, err = run(capsys, "search", "x", "--corpus", str(tmp_path))
    assert code == 1 and str(tmp_path) in err
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    code, _, err = run(capsys, "search", "x", "--corpus", str(tmp_path))
    assert code == 1 and "bad.txt" in err and "3" in err


def test_data_list_and_verify(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path))
    code, out, _ = run(capsys, "data", "list")
    assert code == 0 and "sotu" in out and "not fetched" in out
    code, out, _ = run(capsys, "data", "verify")
    assert code == 0 and "damaged" not in out


def test_the_tour(capsys, tmp_path):
    code, out, _ = run(capsys, "--figures", str(tmp_path))
    assert code == 0 and "What next" in out
    for chapter in chapters():
        assert f"Chapter {int(chapter[2:4])}." in out
        assert list(tmp_path.glob(f"{chapter}_*.png")), f"{chapter} drew no figure"


def test_matches_are_marked():
    assert highlight("The needle, needles", {"needle": 1.0}) == "The *needle*, needles"
