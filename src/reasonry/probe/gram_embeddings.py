"""Phrases as vectors, for clustering: by their letters and words, or by a sentence encoder from a local folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonry.core import Missing, UserError

WIDTH = 64
"""Dimensions that phrases are reduced to."""


def letters(grams: Sequence[str]) -> NDArray[np.float64]:
    """TF-IDF of words and of runs of two to four letters, reduced to at most `WIDTH` dimensions, unit length; [grams, width].

    Joins phrases that share words or spellings; knows nothing of meaning. Raises Missing without scikit-learn.
    """
    try:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_union
        from sklearn.preprocessing import normalize
    except ImportError:
        raise Missing("scikit-learn", "grams", "embedding phrases by their letters") from None
    both = make_union(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True), TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True)
    )
    found: Any = both.fit_transform(list(grams))
    width = min(WIDTH, *(size - 1 for size in found.shape))
    dense = found.toarray() if width < 2 else TruncatedSVD(width, random_state=0).fit_transform(found)
    return np.asarray(normalize(dense), dtype=np.float64)


def sentence_encoder(folder: Path, batch: int = 256) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """An embedding by the encoder of a local Hugging Face folder: mean of the last hidden states over the tokens that are no padding, unit
    length (as MiniLM and its like are meant to be read). Nothing is downloaded. Raises UserError for a folder without a model."""
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise Missing("transformers", "hf", "a sentence encoder") from None
    import torch

    if not (folder / "config.json").is_file():
        raise UserError(f"--encoder: {folder} holds no config.json; name the local folder of a sentence encoder such as MiniLM")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.no_grad()
    def embed(grams: Sequence[str]) -> NDArray[np.float64]:
        rows: list[torch.Tensor] = []
        for i in range(0, len(grams), batch):
            read = tokenizer(list(grams[i : i + batch]), padding=True, truncation=True, return_tensors="pt")
            on = read["attention_mask"][..., None].to(torch.float32)
            mean = (model(**read).last_hidden_state * on).sum(1) / on.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=-1))
        return torch.cat(rows).double().numpy()

    return embed
