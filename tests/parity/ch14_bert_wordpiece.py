"""Freeze the BERT tokenizer of the tokenizers library -> tests/parity/ch14_bert_wordpiece.npz.

    python -m primer data get minilm
    pip install tokenizers safetensors && python -m tests.parity.ch14_bert_wordpiece

1,000 sentences of the State of the Union of all lengths, then HARD: texts in many scripts, and what
tokenizers stumble over.  `sentences` and HARD are made anew by the tests, not kept.

ids, starts    of all-MiniLM-L6-v2's own tokenizer.json, cut at 256 tokens: text i has
               ids[starts[i]:starts[i + 1]]
pieces         all of its pieces that stand in them, with `piece_ids`: a vocabulary of these alone
               cuts the texts as the whole one does, which `main` checks
cased_*        the same vocabulary, capitals and accents kept
pair_*         HARD[i] with HARD[i + 1], cut at 24 tokens: ids, segments
letters        what becomes of each code point in "a?b": 0 as it is, 1 gone, 2 a blank, 3 it stands
               alone, 4 another text; as runs: `run_starts`, `run_kinds`
decoded        what the library decodes, without the special pieces and its own mending of blanks
"""
import json
import re
import unicodedata
from pathlib import Path

import numpy as np

from primer import data
from primer.ch14_bert_wordpiece import SPECIAL

MOST, PAIR = 256, 24
HARD = [
    "人人生而自由,在尊严和权利上一律平等。", "すべての人間は、生まれながらにして自由であり、",
    "カタカナとひらがな", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "يولد جميع الناس أحرارًا متساوين في الكرامة", "כל בני אדם נולדו בני חורין ושווים בערכם",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা", "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே",
    "ప్రతిపత్తిస్వత్వముల విషయమున", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน",
    "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ", "មនុស្សទាំងអស់កើតមកមានសេរីភាព", "လူတိုင်းသည် တူညီ လွတ်လပ်သော",
    "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་", "ყველა ადამიანი იბადება თავისუფალი",
    "Բոլոր մարդիկ ծնվում են ազատ", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι. ΟΔΟΣ ΣΊΣΥΦΟΣ",
    "Все люди рождаются свободными и равными в своём достоинстве; Ёлка, Йод",
    "Всі люди народжуються вільними; їжак, ґанок", "የሰው ልጅ ሁሉ ሲወለድ ነጻና", "ᏂᎦᏓ ᎠᏂᏴᏫ ᏂᎨᎫᏓᎸᎾ ꭰꭱꭲ",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng",
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit; İSTANBUL ılık Iğdır",
    "Alle Menschen sind frei und GLEICH an Würde; STRASSE Straße ẞ",
    "Tous les êtres humains naissent libres, œuvre, Ça, naïveté",
    "Wszyscy ludzie rodzą się wolni; Łódź źdźbło", "Hver maður er borinn frjáls; Þórður Æðey",
    "Gbogbo ènìyàn ni a bí ní òmìnira; ọ̀rẹ́", "ᐃᓄᓕᒫᑦ ᐊᓂᖅᑎᕆᔪᑦ", "Хүн бүр төрж мэндлэхэд",
    "ᠬᠦᠮᠦᠨ ᠪᠦᠷ", "تمام افراد بشر آزاد به دنیا می‌آیند", "تمام انسان آزاد اور حقوق",
    "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും", "සියලු මනුෂ්‍යයෝ නිදහස්ව", "𐌰𐌱𐌲 𐎠𐎡 𒀀𒀁 𓀀𓂀",
    "𠀀𪜀𫝀𫠠 㐀㿿 豈舘 丽", "I ❤️ this 😀👍🏽 👩‍👩‍👧‍👦 🇩🇪 🥰 ©®™ ☃",
    "e\u0301tude E\u0301 \u0301 a\u0300\u0316\u0301b ǅ ǆ Ǆ",
    "ﬁne ﬂow Ａｌｐｈａ １２３ ｱｲｳ ㎏ ½ x² H₂O",
    "no\u00adbreak\u00a0space\u2003em\u2028line\u2029para\u200bzero\u200djoin\ufeffbom\u3000wide",
    "tab\there\nnew\r\nline\x0bvt\x0cff\x85nel\x00nul\x07bell\x1fus\x7fdel",
    "\ufffd replacement \ue000 private \U000e0041 tag \u0378 unassigned", "", "   \t\n ",
    "\u200b\u200d", ".", "...!?-–—‘’“”«»„…‰§¶†‡•",
    "$1,234.56 + 50% = <x> ^ ` ~ | a_b @c #d €9 £8 ¥7 ₹6",
    "[MASK] is [SEP] a [CLS][PAD]word[UNK] [mask] [ MASK ] [MASK", "##ing ## # un##able",
    "a" * 100, "a" * 101, "x" * 300 + " short", "ab" * 50 + "é" * 60,
    "https://example.org/a?b=c&d=%20#e user@mail.example C:\\dir\\file.txt",
    "def f(x): return x**2  # comment", "MiXeD CaSe DON'T can't won't it's rock'n'roll",
    "pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism",
    "K Å Ω µ μ ℓ ℵ ⅷ Ⅷ ⓐ 𝔸𝕓𝒄 𝟘𝟙", "אָבּ שׁ ﬡﬢ نّ ﷺ ﷽", "ค\u0e33 ำ ཱི ༄༅ ៖ ។ ॥ ၊ ։ ؟ ۔ ؛ ،",
    "가\u1100\u1161\u11a8 ㄱㅏ 각", "ǰ ΐ ŉ ᾳ ᾼ ΰ և ﬗ İi̇",
    "\u0958\u09dc\u0344\u0f73 \u2126\u212a\u212b \ufb1d",
    "word\u0336 s\u0336t\u0336r\u0336 z̷a̴l̵g̶o̷", "日本語とEnglishの混在テスト123abc",
    "1st 2nd 3rd 4,000,000 1990s 3.14e-10 0x7F ١٢٣ १२३ ๑๒๓",
]


def sentences(n=1000):
    """Of all lengths: some of each length there is, some of each share, the longest passages."""
    passages = data.sotu_paragraphs()[0]
    every = sorted({s.strip() for p in passages for s in re.split(r"(?<=[.?!]) +", p) if s.strip()},
                   key=lambda s: (len(s), s))
    lengths = [len(s) for s in every]
    chosen = sorted(passages, key=len)[-50:]
    chosen += [every[i] for i in np.searchsorted(lengths, np.arange(1, lengths[-1], 6))]
    spread = [every[i] for i in np.linspace(0, len(every) - 1, 2 * n).astype(int)]
    chosen = list(dict.fromkeys(chosen))
    more = [s for s in spread if s not in set(chosen)]
    places = np.linspace(0, len(more) - 1, n - len(chosen)).astype(int)
    return chosen + [more[i] for i in places]


def packed(name, lists):
    """Lists of ids -> dict of two arrays."""
    return {name: np.concatenate([np.array(x, np.int16) for x in lists]),
            f"{name}_starts": np.cumsum([0, *map(len, lists)]).astype(np.int32)}


def letter_kinds(tokenizer):
    """-> (0x110000,) uint8, as said above; surrogates are 1."""
    kinds = np.ones(0x110000, np.uint8)
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        text = tokenizer.normalizer.normalize_str(f"a{chr(code)}b")
        words = [w for w, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        kinds[code] = kind_of(words, chr(code))
    return kinds


def kind_of(words, letter):
    """Of the words of "a?b"."""
    if words == [f"a{letter}b"]:
        return 0
    return 1 if words == ["ab"] else 2 if words == ["a", "b"] else 3 if len(words) == 3 else 4


def main():
    from tokenizers import Tokenizer
    folder = data.path("minilm")
    whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole.no_padding()
    whole.enable_truncation(MOST)
    texts = sentences() + HARD
    lists = [e.ids for e in whole.encode_batch(texts)]
    about = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = about["model"]["vocab"]
    names = {i: piece for piece, i in vocabulary.items()}
    used = sorted({i for ids in lists for i in ids} | {vocabulary[s] for s in SPECIAL})

    def of(pieces, lower):
        small = json.loads(json.dumps(about))
        small["model"]["vocab"] = {piece: i for i, piece in enumerate(pieces)}
        small["normalizer"]["lowercase"] = lower
        small["added_tokens"] = [t | {"id": pieces.index(t["content"])}
                                 for t in small["added_tokens"]]
        post = small["post_processor"]
        for name, key in (("[CLS]", "cls"), ("[SEP]", "sep")):
            if key in post:
                post[key][1] = pieces.index(name)
            else:
                post["special_tokens"][name]["ids"] = [pieces.index(name)]
        found = Tokenizer.from_str(json.dumps(small))
        found.no_padding()
        found.enable_truncation(MOST)
        return found

    pieces = [names[i] for i in used]
    part = of(pieces, True)
    assert [[used[i] for i in e.ids] for e in part.encode_batch(texts)] == lists
    frozen = packed("ids", lists) | {"piece_ids": np.array(used, np.int32)}
    cased = of(pieces, False)
    frozen |= packed("cased", [e.ids for e in cased.encode_batch(texts[-len(HARD):])])
    part.enable_truncation(PAIR)
    both = [part.encode(a, b) for a, b in zip(HARD, HARD[1:], strict=False)]
    frozen |= packed("pair", [e.ids for e in both])
    frozen |= packed("segment", [e.type_ids for e in both])
    kinds = letter_kinds(whole)
    starts = np.flatnonzero(np.diff(kinds, prepend=255))
    frozen |= {"run_starts": starts.astype(np.int32), "run_kinds": kinds[starts]}
    lines = "\n".join(pieces).encode()
    frozen["pieces"] = np.frombuffer(lines, np.uint8)
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **frozen)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB, {len(texts)} texts, {len(pieces)} "
          f"pieces; Unicode {unicodedata.unidata_version} here")


if __name__ == "__main__":
    main()
