"""Freeze what sentence-transformers makes of texts -> tests/parity/encoders.npz.

    python -m primer data get minilm
    pip install torch sentence-transformers && python -m tests.parity.encoders      a minute

file/NAME        the files of a BERT of 2 layers that transformers drew at random and
                 sentence-transformers saved, byte by byte: read and run by every test
tiny             its vectors of TINY_TEXTS, (n, 16) float32
minilm_projected all-MiniLM-L6-v2's vectors of the 1,000 sentences and the HARD texts of
                 tests/parity/ch14_bert_wordpiece.py, times `projection`: (n, 12) float32; a vector
                 that is wrong by e is wrong by about e sqrt(12 / 384) there
minilm           those of every 16th in full, float16

Versions that made the committed file stand in it: `versions`.
"""
import importlib.metadata
import tempfile
from pathlib import Path

import numpy as np

from primer import data
from primer.ch14_bert_vocabulary import train_wordpiece
from tests.parity.ch14_bert_wordpiece import HARD, sentences

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 20, "initializer_range": 0.4}
TINY_LONGEST = 18                      # tokens
EVERY = 16
COLUMNS = 12


def projection():
    """A fixed matrix of lengths about 1  ->  (384, 12) float32."""
    rng = np.random.default_rng(14)
    return (rng.standard_normal((384, COLUMNS)) / np.sqrt(384)).astype(np.float32)


def tiny_texts():
    """Texts for the small model: short, long, empty, in other scripts -> list of str."""
    return [*sentences()[60:1000:40], *HARD[::4], "", "the", "x " * 40]


def tiny_folder(folder):
    """A sentence-transformers model of random weights -> its path."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as models
    from transformers import BertConfig, BertModel, BertTokenizerFast
    vocabulary = train_wordpiece(sentences()[:300], 300)
    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=len(vocabulary), **TINY))
    for name, parameter in bert.named_parameters():        # else scales 1 and biases 0
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        assert torch.isfinite(parameter).all(), name
    side = folder / "bert"
    side.mkdir()
    (side / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    bert.save_pretrained(side)
    BertTokenizerFast(str(side / "vocab.txt"), do_lower_case=True).save_pretrained(side)
    encoder = models.Transformer(str(side), max_seq_length=TINY_LONGEST)
    SentenceTransformer(modules=[encoder, models.Pooling(TINY["hidden_size"], "mean"),
                                 models.Normalize()], device="cpu").save(str(folder / "tiny"))
    return folder / "tiny"


def encoded(folder, texts):
    """What the library makes of them -> (n, d) float32."""
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, convert_to_numpy=True, normalize_embeddings=True)


def main():
    packages = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")
    frozen = {"versions": np.array([f"{p} {importlib.metadata.version(p)}" for p in packages])}
    with tempfile.TemporaryDirectory() as name:
        folder = tiny_folder(Path(name))
        for file in ("config.json", "model.safetensors", "tokenizer.json",
                     "tokenizer_config.json", "sentence_bert_config.json",
                     "1_Pooling/config.json"):
            frozen[f"file/{file}"] = np.frombuffer((folder / file).read_bytes(), np.uint8)
        frozen["tiny"] = encoded(folder, tiny_texts())
    vectors = encoded(minilm_folder(), sentences() + HARD)
    frozen["minilm_projected"] = vectors @ projection()
    frozen["minilm"] = vectors[::EVERY].astype(np.float16)
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **frozen)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB; {', '.join(frozen['versions'])}")


def minilm_folder():
    """The fetched model, as sentence-transformers opens it -> path."""
    return data.path("minilm")


if __name__ == "__main__":
    main()
