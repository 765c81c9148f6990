"""`switchyard cost`: what was used and charged, what engines cost, and what APIs would have."""

from __future__ import annotations

import typer

from switchyard.commands.cost_baselines import baselines
from switchyard.commands.cost_bill import bill, idle, weights
from switchyard.commands.cost_break_even import break_even
from switchyard.commands.cost_calibrate import calibrate
from switchyard.commands.cost_calibrate_live import live
from switchyard.commands.cost_engines import engines
from switchyard.commands.cost_outlook import anomalies, forecast
from switchyard.commands.cost_radar import radar
from switchyard.commands.cost_report import report
from switchyard.commands.cost_scenario import scenario
from switchyard.commands.cost_statement import statement

cost = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Report what usage was charged, cost, and would have cost at APIs."
)

cost.command("report")(report)
cost.command("statement")(statement)
cost.command("scenario")(scenario)
cost.command("break-even")(break_even)
cost.command("forecast")(forecast)
cost.command("anomalies")(anomalies)
cost.command("bill")(bill)
cost.command("idle")(idle)
cost.command("weights")(weights)
cost.command("radar")(radar)
cost.add_typer(baselines, name="baselines")
cost.add_typer(engines, name="engines")
calibrate.command("live")(live)
cost.add_typer(calibrate, name="calibrate")
