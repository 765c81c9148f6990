"""The picture of a training."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import pytest

from registry.errors import InvalidInput
from switchyard.commands.train_curve import MOST_KEPT, Kept, plotting
from switchyard.picture_files import form_of
from tests.support.cli_runner import Run, run
from trainer.curves import MAX_POINTS, draw_curve
from trainer.errors import TrainerError
from trainer.watch import StepMetrics, Unwatched

__all__ = ["run"]


def a_run(steps: int, every: int = 10) -> list[StepMetrics]:
    return [
        StepMetrics(step, steps, 1 + math.exp(-step / 20), full_valid_loss=1.2 if step % every == 0 else None)
        for step in range(1, steps + 1)
    ]


def test_a_curve_names_its_axes_with_units_and_both_lines() -> None:
    text = draw_curve(a_run(30), "acme/support, ftjob-1", best_step=20).decode()
    for words in ("acme/support, ftjob-1", "optimiser step", "loss (nats per token)", "perplexity (e to the loss)"):
        assert words in text
    assert [word in text for word in ("training", "validation", "kept: step 20")] == [True, True, True]


def test_the_same_metrics_give_the_same_bytes() -> None:
    assert draw_curve(a_run(80), "t") == draw_curve(a_run(80), "t")
    assert draw_curve(a_run(80), "t", "png") == draw_curve(a_run(80), "t", "png")


def test_a_png_is_960_by_540_pixels() -> None:
    image = draw_curve(a_run(80), "t", "png")
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", image[16:24]) == (960, 540)


def test_a_long_training_makes_no_large_file() -> None:
    text = draw_curve(a_run(40 * MAX_POINTS, every=3), "t").decode()
    assert len(text) < 2**20
    assert max(len(re.findall("[LM] ", path)) for path in re.findall(' d="([^"]*)"', text)) <= MAX_POINTS


def test_a_loss_that_is_no_number_leaves_a_gap_and_never_a_fault() -> None:
    metrics = [StepMetrics(step, 4, loss) for step, loss in enumerate((2.0, math.nan, math.inf, 1e6), start=1)]
    assert b"optimiser step" in draw_curve(metrics, "t")


def test_one_step_is_a_point() -> None:
    assert b"training" in draw_curve([StepMetrics(1, 1, 2.0)], "t")


def test_without_any_loss_there_is_no_curve() -> None:
    with pytest.raises(TrainerError, match="no step has a loss"):
        draw_curve([StepMetrics(1, 2), StepMetrics(2, 2, math.nan)], "t")


def test_a_title_in_any_script_is_drawn_without_a_warning() -> None:
    assert b"\\u652f $x$ &lt;b&gt;" in draw_curve(a_run(3), "支 $x$ <b>")


def test_a_picture_is_svg_or_png_by_its_name() -> None:
    assert (form_of(Path("a.SVG")), form_of(Path("b.png"))) == ("svg", "png")
    with pytest.raises(InvalidInput, match=r"name a file that ends with \.png or \.svg"):
        form_of(Path("c.pdf"))


def test_a_sample_of_the_held_out_rows_is_drawn_where_all_of_them_were_never_measured() -> None:
    assert b"validation" in draw_curve([StepMetrics(1, 1, 2.0, valid_loss=2.1)], "t")


def test_what_a_watch_is_told_is_drawn_at_the_end_also_when_the_training_fails(tmp_path: Path) -> None:
    file = tmp_path / "curve.svg"

    def fails() -> None:
        with plotting(Unwatched(), file, "t") as watch:
            for measured in a_run(5):
                watch.metrics(measured)
            raise TrainerError("diverged")

    with pytest.raises(TrainerError, match="diverged"):
        fails()
    assert b"optimiser step" in file.read_bytes()


def test_where_nothing_was_measured_no_picture_is_left(tmp_path: Path) -> None:
    with plotting(Unwatched(), tmp_path / "curve.png", "t"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_very_many_measurements_the_validations_and_a_part_of_the_others_are_kept(tmp_path: Path) -> None:
    kept = Kept(Unwatched())
    for measured in a_run(MOST_KEPT + 10, every=1_000):
        kept.metrics(measured)
    kept.draw(tmp_path / "curve.svg", "t")
    assert len(kept._measured) < 0.6 * MOST_KEPT
    assert sum(one.full_valid_loss is not None for one in kept._measured) == MOST_KEPT // 1_000


@pytest.mark.training
def test_the_command_refuses_a_picture_that_it_cannot_draw_before_it_trains(run: Run, tmp_path: Path) -> None:
    (tmp_path / "RECIPE.toml").write_text("")
    outcome = run("train", tmp_path / "RECIPE.toml", "--plot", tmp_path / "curve.pdf")
    assert outcome.status == 1
    assert "name a file that ends with .png or .svg" in outcome.err
