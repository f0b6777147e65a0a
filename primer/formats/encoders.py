"""Sentence encoders as sentence-transformers keeps them: a folder, read by what it says of itself.

config.json                 a BERT: its sizes
model.safetensors           its weights: 8 bytes, the length of a JSON header, then the header: of
                            each tensor its kind, shape and place; then the numbers.  Read by the
                            safetensors library, an extra: pip install -e '.[minilm]'
tokenizer.json              WordPiece: the vocabulary, and whether letters become small
sentence_bert_config.json   the longest text, in tokens; of late in tokenizer_config.json
1_Pooling/config.json       how the tokens' vectors become one: by their mean

Hugging Face keeps a matrix as (out, in), chapter 14 as (in, out); the three of queries, keys and
values are one of ours.
"""
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from primer.ch14_bert_wordpiece import WordPiece

FIXED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute",
         "layer_norm_eps": 1e-12}             # what chapter 14's encoder does
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
         "intermediate_size", "max_position_embeddings", "type_vocab_size")
EMBEDDINGS = {                                # ours: the file's
    "tokens": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "segments": "embeddings.token_type_embeddings.weight",
    "embed.scale": "embeddings.LayerNorm.weight", "embed.shift": "embeddings.LayerNorm.bias",
}
LAYER = {                                     # of layer l, below encoder.layer.l.
    "qkv": tuple(f"attention.self.{x}.weight" for x in ("query", "key", "value")),
    "qkv_bias": tuple(f"attention.self.{x}.bias" for x in ("query", "key", "value")),
    "out": "attention.output.dense.weight", "out_bias": "attention.output.dense.bias",
    "scale1": "attention.output.LayerNorm.weight", "shift1": "attention.output.LayerNorm.bias",
    "up": "intermediate.dense.weight", "up_bias": "intermediate.dense.bias",
    "down": "output.dense.weight", "down_bias": "output.dense.bias",
    "scale2": "output.LayerNorm.weight", "shift2": "output.LayerNorm.bias",
}
LARGEST_HEADER = 100_000_000                  # bytes, as the library has it


@dataclass(eq=False)
class SentenceEncoder:
    """A BERT whose mean over the tokens, at length 1, is a sentence's vector."""

    P: dict                # name: (..., ...) float32, as chapter 14's encoder has them
    heads: int
    tokenizer: WordPiece
    longest: int           # tokens of a text, [CLS] and [SEP] among them; the rest is cut off

    @property
    def d(self):
        """Numbers of a vector."""
        return self.P["tokens"].shape[1]


def read_encoder(folder):
    """A folder as above  ->  SentenceEncoder.

    Raises FileNotFoundError for a missing file, RuntimeError without the safetensors library, and
    ValueError, which names all that is wrong, for another kind of model, and for tensors that are
    missing, misshapen, cut off, of whole numbers, or hold NaN or infinity.
    """
    folder = Path(folder)
    about = config(folder)
    tokenizer = read_wordpiece(folder / "tokenizer.json")
    if len(tokenizer) != about["vocab_size"]:
        raise ValueError(f"{folder}: tokenizer.json has {len(tokenizer)} pieces, config.json "
                         f"{about['vocab_size']}")
    _check_pooling(folder / "1_Pooling/config.json")
    return SentenceEncoder(read_bert(folder / "model.safetensors", about),
                           about["num_attention_heads"], tokenizer, _longest(folder, about))


def _check_pooling(path):
    """The mean: "pooling_mode": "mean", or in older files a flag for each kind."""
    about = _json(path)
    modes = [name for name, on in about.items() if name.startswith("pooling_mode_") and on is True]
    modes += [f"pooling_mode {about['pooling_mode']!r}"] if "pooling_mode" in about else []
    if modes not in (["pooling_mode_mean_tokens"], ["pooling_mode 'mean'"]):
        raise ValueError(f"{path}: expected the mean of the tokens alone, got "
                         f"{', '.join(modes) or 'no mode'}")


def _longest(folder, about):
    """max_seq_length, which newer folders have in tokenizer_config.json as model_max_length."""
    longest = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    if longest is None and (folder / "tokenizer_config.json").exists():
        longest = _json(folder / "tokenizer_config.json").get("model_max_length")
    return int(min(longest or math.inf, about["max_position_embeddings"]))


def config(folder):
    """config.json of a BERT that chapter 14's encoder is  ->  dict of the SIZES and more.
    Raises ValueError for another model, or sizes that are none, FileNotFoundError."""
    about = _json(Path(folder) / "config.json")
    wrong = [f"{name} {about[name]!r} in place of {want!r}" for name, want in FIXED.items()
             if about.get(name, want) != want]
    wrong += [f"{name} {about.get(name)!r} in place of a whole number above 0" for name in SIZES
              if not (isinstance(about.get(name), int) and about[name] > 0)]
    if not wrong and about["hidden_size"] % about["num_attention_heads"]:
        wrong = [f"hidden_size {about['hidden_size']} is no multiple of num_attention_heads "
                 f"{about['num_attention_heads']}"]
    if wrong:
        raise ValueError(f"{folder}/config.json: not a BERT that chapter 14 can run: "
                         f"{'; '.join(wrong)}")
    return about


def read_wordpiece(path):
    """tokenizer.json of a BERT  ->  WordPiece.  Raises ValueError for another tokenizer, or a
    vocabulary whose ids have gaps, FileNotFoundError."""
    about = _json(path)
    model, normalizer = about.get("model") or {}, about.get("normalizer") or {}
    lower = normalizer.get("lowercase")
    strips = normalizer.get("strip_accents")
    plain = (model.get("type", "WordPiece") == "WordPiece"
             and model.get("continuing_subword_prefix", "##") == "##"
             and model.get("unk_token", "[UNK]") == "[UNK]" and isinstance(model.get("vocab"), dict)
             and model.get("max_input_chars_per_word", 100) == 100
             and normalizer.get("type") == "BertNormalizer" and isinstance(lower, bool)
             and normalizer.get("clean_text") and normalizer.get("handle_chinese_chars")
             and strips in (None, lower))
    if not plain:
        raise ValueError(f"{path}: not the WordPiece tokenizer of BERT")
    vocabulary = sorted(model["vocab"], key=model["vocab"].get)
    if sorted(model["vocab"].values()) != list(range(len(vocabulary))):
        raise ValueError(f"{path}: the ids of the {len(vocabulary)} pieces are not 0 to "
                         f"{len(vocabulary) - 1}")
    return WordPiece(vocabulary, lower)


# ---- weights ------------------------------------------------------------------------------------

def expected_shapes(about):
    """What the file of a BERT has to hold, by config.json  ->  dict name: shape."""
    d, f = about["hidden_size"], about["intermediate_size"]
    rows = {"tokens": about["vocab_size"], "positions": about["max_position_embeddings"],
            "segments": about["type_vocab_size"]}
    out = {theirs: (rows[ours], d) if ours in rows else (d,) for ours, theirs in EMBEDDINGS.items()}
    shapes = {"qkv": (d, d), "out": (d, d), "up": (f, d), "up_bias": (f,), "down": (d, f)}
    for l in range(about["num_hidden_layers"]):
        for ours, theirs in LAYER.items():
            for name in (theirs,) if isinstance(theirs, str) else theirs:
                out[f"encoder.layer.{l}.{name}"] = shapes.get(ours, (d,))
    return out


def read_bert(path, about):
    """Weights of a BERT of the sizes `about`  ->  P, as chapter 14's encoder has it, float32.
    Errors as read_encoder."""
    tensors = read_tensors(path)
    prefix = "bert." if any(name.startswith("bert.") for name in tensors) else ""
    wrong = []
    for name, shape in expected_shapes(about).items():
        found = tensors.get(prefix + name)
        if found is None:
            wrong.append(f"{prefix}{name} is missing")
        elif found.shape != shape:
            wrong.append(f"{prefix}{name} has shape {found.shape} in place of {shape}")
        elif found.dtype.kind != "f":
            wrong.append(f"{prefix}{name} has numbers of kind {found.dtype}")
        elif not np.isfinite(found).all():
            wrong.append(f"{prefix}{name} has NaN or infinity")
    if wrong:
        raise ValueError(f"{path}: not the weights that config.json names:\n  "
                         + "\n  ".join(wrong))

    def ours(names):
        """(out, in) matrices -> one (in, out), biases -> one."""
        parts = [tensors[prefix + name] for name in names]
        parts = [part.T if part.ndim == 2 else part for part in parts]
        return np.ascontiguousarray(np.concatenate(parts, axis=-1), np.float32)

    P = {name: np.ascontiguousarray(tensors[prefix + theirs], np.float32)
         for name, theirs in EMBEDDINGS.items()}
    for l in range(about["num_hidden_layers"]):
        for name, theirs in LAYER.items():
            theirs = (theirs,) if isinstance(theirs, str) else theirs
            P[f"{l}.{name}"] = ours([f"encoder.layer.{l}.{t}" for t in theirs])
    return P


def read_tensors(path):
    """All tensors of a safetensors file  ->  dict name: array.

    Raises FileNotFoundError, RuntimeError without the library, ValueError, which names the tensors
    that are cut off, for a file that is not whole.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise RuntimeError(f"{path} is a safetensors file; to read it: "
                           "pip install -e '.[minilm]'") from error
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {_what_is_wrong(path) or error}") from error


def _what_is_wrong(path):
    """Which tensors a broken safetensors file cuts off  ->  str, or None if it is something else.
    """
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if size < 8 or length > LARGEST_HEADER:
            return "does not begin with the length of a safetensors header"
        if size < 8 + length:
            return f"the header of {length} bytes is cut off after {size - 8}; truncated?"
        try:
            header = json.loads(file.read(length))
            ends = {name: 8 + length + int(about["data_offsets"][1])
                    for name, about in header.items() if name != "__metadata__"}
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "the header is damaged"
    cut = [name for name, end in ends.items() if end > size]
    return (f"cut off after {size} of {max(ends.values())} bytes; not whole: {', '.join(cut)}"
            if cut else None)


def _json(path):
    """A JSON object  ->  dict.  Raises FileNotFoundError, ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object")
    return found
