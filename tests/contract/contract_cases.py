"""What Switchyard relies on in an engine, as tests over a fixture `engine` (an `EngineUnderTest`).

`test_engine_contract.py` beside this file collects them on the mock engine; tests/live collects the same functions
on a real vLLM, by importing `*` from here and a fixture of its own. On that one an answer takes up to a second, so the
cases ask for few answers (about 40 in all) and few tokens.
"""

from __future__ import annotations

from tests.contract.contract_answers import *  # noqa: F403
from tests.contract.contract_counts import *  # noqa: F403
from tests.contract.contract_fleet import *  # noqa: F403
from tests.contract.contract_intervals import *  # noqa: F403
from tests.contract.contract_refusals import *  # noqa: F403

__all__ = [name for name in globals() if name.startswith("test_")]
