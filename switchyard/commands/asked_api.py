"""An API that a command asks on behalf of a person, with that person's key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput

if TYPE_CHECKING:
    from registry.prices.baseline_infos import PricePeriod
    from registry.service import Registry
    from trainer.endpoints.client import Client

BaselineOption = typer.Option(..., "--baseline", help="Whose tokens are counted, by its name in the price log.")
ModelOption = typer.Option(None, "--model", help="What the API is asked for; default: --baseline.")
ModelUrlOption = typer.Option("https://api.openai.com/v1", "--model-url", help="Where, as an SDK is given it.")
KeyFileOption = typer.Option(None, "--key-file", help="A file with your key there.")
KeyEnvOption = typer.Option("OPENAI_API_KEY", "--key-env", help="Else the environment variable with it.")
BudgetOption = typer.Option("1", "--budget", help="Dollars on the API, at its list price, before it stops.")
TightOption = typer.Option(0.05, "--tight", min=0.001, max=1, help="Stop when both are known within this part.")


@dataclass(frozen=True, slots=True)
class AskedApi:
    """Where it is, by whose name in the price log, and whose key it gets."""

    baseline: str
    model: str
    url: str
    key_file: Path | None
    key_env: str

    @contextmanager
    def client(self) -> Iterator[Client]:
        """With the key. Raises `InvalidInput` where that cannot be read."""
        from trainer.endpoints.client import client_of
        from trainer.endpoints.endpoint import Endpoint, key_from

        if self.key_file is None:
            key = key_from(self.key_env, required=False)
        else:
            try:
                key = self.key_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as failed:
                raise InvalidInput(
                    f"key_file is {str(self.key_file)!r}, and cannot be read: {failed}", param="key_file"
                ) from None
        with client_of(Endpoint(self.url, key, remedy="correct --model-url")) as client:
            yield client

    def price(self, registry: Registry) -> PricePeriod:
        """That holds now. Raises `InvalidInput` without one, and `NotFound` for a baseline that is not in the log."""
        from gateway.cost.list_prices import in_force
        from registry.db import now_ms

        price = in_force(registry.baselines.prices(self.baseline), now_ms())
        if price is None or not price.complete:
            raise InvalidInput(
                f"baseline is {self.baseline!r}, which has no price now; a budget needs one", param="baseline"
            )
        return price
