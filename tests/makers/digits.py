"""Make datasets/digits.npz: the handwritten digits that scikit-learn carries, as bytes.

    python -m tests.makers.digits            needs scikit-learn (extra: peers)

Pixels are whole numbers 0 to 16, so uint8 holds them.  The zip's time stamps are fixed, so the
same data gives the same file.
"""
import io
import zipfile

import numpy as np

from primer import data


def build():
    """The bytes of digits.npz: images (1797, 64) uint8, labels (1797,) uint8."""
    from sklearn.datasets import load_digits
    source = load_digits()
    images, labels = source.data.astype(np.uint8), source.target.astype(np.uint8)
    assert (images == source.data).all() and (labels == source.target).all()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in (("images", images), ("labels", labels)):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, 3
            raw = io.BytesIO()
            np.lib.format.write_array(raw, array, allow_pickle=False)
            archive.writestr(member, raw.getvalue())
    return out.getvalue()


if __name__ == "__main__":
    target = data.DATASETS / "digits.npz"
    target.write_bytes(build())
    print(f"{target}  {target.stat().st_size} bytes  sha256 {data.sha256(target)}")
