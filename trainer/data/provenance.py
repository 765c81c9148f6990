"""How much of a data set no person wrote, and what follows from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from trainer.data.findings import Finding, finding
from trainer.data.read import Dataset

MAX_SYNTHETIC_SHARE = 0.3
"""70 of 100 rows should be real."""
MAX_MODELS_NAMED = 3


def provenance(data: Dataset, base_name: str | None = None) -> Iterator[Finding]:
    """Shares of synthetic rows; `base_name` is the model that is to be trained, as its folder or hub id is called."""
    compared = sum(origin.kind == "comparison" for origin in data.origins.values())
    if compared:  # DPO learns from answers of models, of the trained one best of all
        text = f"{compared} of {data.rows} rows are answers of models that were compared"
        yield finding("info", "compared_rows", text)
    written = [origin for origin in data.origins.values() if origin.kind != "comparison"]
    if not written:
        return
    count, models = len(written), Counter(origin.model for origin in written if origin.model)
    named = ", ".join(model[:60] for model, _ in models.most_common(MAX_MODELS_NAMED)) or "an unknown model"
    share = count / data.rows
    yield finding("info", "synthetic_rows", f"{count} of {data.rows} rows ({share:.0%}) are synthetic (by {named})")
    if share > MAX_SYNTHETIC_SHARE:
        text = f"{share:.0%} of the rows are synthetic; more than 30 of 100 is too much: add real rows"
        yield finding("warn", "synthetic_share", text)
    same = sorted(model for model in models if base_name and family(model) == family(base_name))
    if same:
        text = (
            f"rows were written by {same[0][:60]}, of the family that is trained ({family(same[0])}); a model "
            "that learns from its own kind forgets what is rare (model collapse): take others"
        )
        yield finding("warn", "model_collapse", text)


def family(model: str) -> str:
    """The first word of a model's own name: `smollm` of `HuggingFaceTB/SmolLM2-135M-Instruct`."""
    name = model.removeprefix("ft:").partition(":")[0].rstrip("/").rpartition("/")[2].lower()
    found = re.search("[a-z]+", name)
    return found[0] if found else name
