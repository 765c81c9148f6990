"""A training in several processes: what is refused beforehand. `tests/live` trains in two."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.method_parts import Noting, options, rows
from trainer.errors import RecipeError, TrainingRefused
from trainer.methods.launching import check_launch, launch
from trainer.methods.loading import load_base

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("distributed_type: [", "cannot be read"),
        ("- NO", "distributed_type is None; give one of NO, MULTI_GPU, FSDP, DEEPSPEED"),
        ("distributed_type: MULTI_CPU", "distributed_type is MULTI_CPU"),
        ("distributed_type: DEEPSPEED", "needs the package deepspeed; install it"),
        ("distributed_type: FSDP\nnum_machines: 2", "num_machines is 2"),
    ],
)
def test_a_configuration_that_is_none_is_refused_before_anything_is_loaded(
    tmp_path: Path, text: str, says: str
) -> None:
    config = tmp_path / "accelerate.yaml"
    config.write_text(text)
    with pytest.raises(RecipeError, match=r"launch\.accelerate_config = ") as refused:
        check_launch(config, options())
    assert says in str(refused.value)


def test_early_stopping_is_refused_in_several_processes(tmp_path: Path) -> None:
    config = tmp_path / "accelerate.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 2\n")
    check_launch(config, options())
    with pytest.raises(RecipeError, match="leave it out with"):
        check_launch(config, options(training={"early_stopping_patience": 2}))


def test_processes_that_fail_say_why(base: Path, tmp_path: Path) -> None:
    config = tmp_path / "accelerate.yaml"
    config.write_text("distributed_type: 'NO'\nnum_processes: 1\nno_such_key: 1\n")
    with pytest.raises(TrainingRefused, match=r"ended with 1: .*no_such_key"):
        launch(config, load_base(base), rows(), options(), Noting(), None)
