"""The text's numbers on BM25, recomputed: lines 552-676 and 1501-1541."""
import math

import numpy as np

from primer import data
from primer.ch03_bow import bag_of_words, to_dense
from primer.ch04_tfidf import term_frequency_relative, tfidf
from primer.ch05_bm25 import (
    idf_lucene,
    idf_robertson,
    saturation,
    scores,
    stuffing_curve,
)
from primer.claims import Claim


def worth(count, length, avgdl, k1=1.2, b=0.75):
    """(5.2) of one count in one document -> float."""
    return float(saturation(np.array([count]), length / avgdl, k1, b)[0])


def scale_of_term_frequency():
    """What the counts 10^3, 10^6, 10^9 are worth: steps of equal size, or none to speak of?"""
    steps = np.diff(saturation(np.array([1e3, 1e6, 1e9]), 1.0))
    if np.isclose(*steps):
        return "logarithmic"
    return f"a ratio that stays below {worth(1e9, 1, 1):.1f}"


def solar_worth(avgdl, k1=1.2, b=0.75):
    """Worth of "solar energy" and "advantages", taken as two words -> of A, of B."""
    a, b_ = [[worth(c, length, avgdl, k1, b) for c in counts]
             for length, counts in ((300, (4, 3)), (1000, (10, 1)))]
    return a, b_


def solar_winner():
    """Who is first, for equal idf, over a grid of mean lengths and parameters."""
    winners = {"A" if sum(a) > sum(b) else "B"
               for avgdl in range(50, 3001, 50) for k1 in (0.1, 0.5, 1.2, 2.0)
               for bb in (0.0, 0.25, 0.5, 0.75, 1.0) for a, b in [solar_worth(avgdl, k1, bb)]}
    return f"{' or '.join(sorted(winners))} first for every mean length, b and k1 up to 2"


def solar_idf_ratio(avgdl):
    """How many times the idf of "advantages" that of "solar energy" must be for B to win."""
    (solar_a, other_a), (solar_b, other_b) = solar_worth(avgdl)
    return (other_a - other_b) / (solar_b - solar_a)


def each_adds_less():
    """Do further occurrences add less than the ones before, at any length?"""
    falling = all(np.all(np.diff(saturation(np.arange(101), r), 2) < 0) for r in (0.3, 1.0, 3.0))
    return "each adds less" if falling else "some add more"


def cake(function):
    """The cake example's documents A, B (and one without cake) weighed -> of A, of B."""
    texts = [" ".join(["cake"] * f + ["word"] * (n - f)) for n, f in ((100, 10), (1000, 15))]
    vocabulary, X = bag_of_words([*texts, "word"])
    return to_dense(function(X))[:2, vocabulary["cake"]]


def cake_ratio(avgdl, b=0.75):
    """How many times more the cake is worth in A than in B."""
    return worth(10, 100, avgdl, b=b) / worth(15, 1000, avgdl, b=b)


def first_of(a, b):
    return "A higher" if a > b else "B higher" if b > a else "equal"


def cake_is_punished_less():
    a, b = cake(term_frequency_relative)
    return "less than TF-IDF" if all(cake_ratio(avgdl) < a / b for avgdl in (100, 550, 1000)) \
        else "as much as TF-IDF or more"


def cake_by_b():
    return [first_of(cake_ratio(550, b), 1) for b in (0.0, 1.0)]


def stuffing():
    """Honest document of 100 words with one keyword: its score, then after 1, 5, 20, 1000 more."""
    curve = stuffing_curve(np.array([0, 1, 5, 20, 1000]), length=100)
    return "raises the score" if np.all(np.diff(curve) > 0) else "does not always raise it"


def printed_idf_is_robertson():
    """Line 672's idf, evaluated as it is printed, against ours -> statement."""
    printed = [math.log((10 - df + 0.5) / (df + 0.5)) for df in range(11)]
    same = np.allclose(printed, idf_robertson(np.arange(11), 10), rtol=1e-12, atol=1e-12)
    return "Robertson and Sparck Jones's" if same else "another idf"


def repetitions_by_line_672(df, n=10):
    """A word of df of n documents: does its second occurrence raise the score of line 672?"""
    weight = idf_robertson(np.array([df]), n)[0]
    steps = weight * np.diff(saturation(np.array([0, 1, 2]), 1.0))
    return "rewards" if np.all(steps > 0) else "lowers" if np.all(steps < 0) else "ignores"


def two_printed_formulas():
    """Lines 672 and 1541 write the worth of a count in two ways: as printed, over a grid."""
    gap = max(abs((k1 + 1) * f / (k1 * ((1 - b) + b * r) + f)
                  - f * (k1 + 1) / (f + k1 * (1 - b + b * r)))
              for f in (1, 2, 7, 100) for r in (0.1, 1, 5) for k1 in (0, 1.2) for b in (0, 0.75))
    return "the same numbers" if gap < 1e-12 else f"they differ by {gap:.3g}"


def cat(idf=idf_lucene, k1=1.2, b=0.75):
    """BM25 of "cat" in the text's three documents -> (3,)."""
    vocabulary, X = bag_of_words(data.load_texts()["cat_dog"]["documents"])
    return scores(X, [vocabulary["cat"]], k1, b, idf)


def cat_over_all_parameters():
    """The order of documents 1 and 3, and the highest score of document 1."""
    grid = [cat(k1=k1, b=b) for k1 in (0, 0.1, 0.5, 1.2, 2, 10, 1000)
            for b in (0, 0.1, 0.5, 0.75, 1)]
    order = "3 at least as high as 1" if all(s[2] >= s[0] for s in grid) else "1 above 3"
    return [order, round(float(max(s[0] for s in grid)), 3)]


CLAIMS = [
    Claim(552, "the scale on which BM25 counts a word", "logarithmic", scale_of_term_frequency,
          note="A logarithm grows without bound; (5.2) is a ratio of linear functions and never "
               "passes k1 + 1.  A million occurrences: 2.2, where ln(1 + f) is 13.8."),
    Claim(561, "solar energy advantages: worth in A and in B, mean length 650, equal idf",
          "A and B may change places", lambda: [sum(w) for w in solar_worth(650)],
          illustrative=True, note="The text gives neither mean length, idf, k1 nor b; 650 is the "
                                  "mean of the two.  A is well ahead."),
    Claim(565, "what further occurrences of a word add", "each adds less", each_adds_less,
          note="1, 2, 3, 5, 10, 100 occurrences: 1, 1.375, 1.571, 1.774, 1.964, 2.174; at most "
               "2.2."),
    Claim(566, "solar energy advantages: idf(solar) over idf(advantages) from which B is first, "
               "mean length 650 and 1000", "rare words matter more",
          lambda: [solar_idf_ratio(650), solar_idf_ratio(1000)], illustrative=True,
          note="B needs its ten mentions of solar energy to weigh 58 (22) times as much."),
    Claim(567, "solar energy advantages: worth of solar energy alone in A and B, mean length 500",
          "a longer document is not unduly punished",
          lambda: [w[0] for w in solar_worth(500)], illustrative=True,
          note="Just equal: ten mentions in 1000 words and four in 300.  B is ahead in this word "
               "if the mean length is above 500, A if below."),
    Claim(568, "solar energy advantages: which document is first", "A or B", solar_winner,
          illustrative=True, note="For equal idf the example does not turn around, though B has "
                                  "eleven matches and A seven."),
    Claim(585, "chocolate cake recipe: whose term frequency is higher", "A higher",
          lambda: first_of(*cake(term_frequency_relative)), note="10/100 against 15/1000."),
    Claim(586, "chocolate cake recipe: whose TF-IDF is higher", "A higher",
          lambda: first_of(*cake(tfidf)), note="The idf is the same, so it is 6.67 times B's."),
    Claim(588, "what further occurrences of chocolate cake recipe add", "each adds less",
          each_adds_less),
    Claim(589, "how hard BM25 punishes the longer document B", "less than TF-IDF",
          cake_is_punished_less, note="A is ahead by a factor of 6.67 in TF-IDF, of 1.08 in BM25 "
                                      "(mean length 550; 1.45 for 100, 1.04 for 1000)."),
    Claim(590, "chocolate cake recipe: who is ahead without and with full length normalisation",
          ["B higher", "A higher"], cake_by_b,
          note="b alone decides the order: at b = 0 the 15 mentions win."),
    Claim(612, "what pasting a keyword into a document does", "raises the score", stuffing,
          note="But boundedly: in 100 words of mean length the factor is 1.37 for one copy, 2.06 "
               "for twenty, and never reaches 2.1804 = (k1 + 1) / (1 + k1 b / avgdl); the raw "
               "term frequency goes from 0.01 to 0.91."),
    Claim(672, "which idf the first formula has", "Robertson and Sparck Jones's",
          printed_idf_is_robertson,
          note="The formula is theirs, and it is 0 at df = n / 2 and negative above (see 676)."),
    Claim(676, "what more repetitions of a query's word do, by line 672, if 6 of 10 documents "
               "hold it", "rewards", lambda: repetitions_by_line_672(6),
          note="The idf of line 672 is negative for a word of more than half of the documents "
               "(-0.368 for 6 of 10): each match lowers the score, and a document with the word "
               "ranks below one without.  Lucene's ln(1 + ...) stays positive."),
    Claim(1501, "BM25 of cat in the three documents", [2.5, 0, 2.3], cat, digits=1,
          illustrative=True,
          note="The text calls them hypothetical; they are impossible as well (next row).  With "
               "the idf of line 672, ln 0.6 < 0, they are -0.496, 0, -0.543."),
    Claim(1501, "BM25 of cat: the order of documents 1 and 3, and the most that 1 can score",
          ["1 above 3", 2.5], cat_over_all_parameters, illustrative=True,
          note="Impossible: both hold cat once and 3 is shorter, so 3 is never behind; document 1 "
               "is longer than the mean, so it scores at most the idf, 0.470, for every k1 and b."),
    Claim(1541, "the formulas of lines 672 and 1541, apart from the idf", "the same numbers",
          two_printed_formulas, note="Line 1541 leaves its IDF undefined."),
]
