"""All routes of the admin API, as one router."""

from __future__ import annotations

from fastapi import APIRouter, Security

from gateway.api.admin.actions import add_actions
from gateway.api.admin.adapters import add_adapters
from gateway.api.admin.added_engines import add_added_engines
from gateway.api.admin.aliases import add_aliases
from gateway.api.admin.answer_checks import add_answer_checks
from gateway.api.admin.archives import add_archives
from gateway.api.admin.attention import add_attention
from gateway.api.admin.audit import add_audit
from gateway.api.admin.auth import BEARER, AdminGate
from gateway.api.admin.ballots import add_ballots
from gateway.api.admin.budgets import add_budgets
from gateway.api.admin.cost import add_cost
from gateway.api.admin.cost_analysis import add_cost_analysis
from gateway.api.admin.cost_baselines import add_cost_baselines
from gateway.api.admin.cost_bill import add_cost_bill
from gateway.api.admin.cost_engines import add_cost_engines
from gateway.api.admin.cost_radar import add_cost_radar
from gateway.api.admin.engines import add_engines
from gateway.api.admin.experiment_outlook import add_experiment_outlook
from gateway.api.admin.experiments import add_experiments
from gateway.api.admin.files import add_files
from gateway.api.admin.fleet import add_fleet
from gateway.api.admin.gates import add_gates
from gateway.api.admin.guarded import guarded_by
from gateway.api.admin.jobs import add_jobs
from gateway.api.admin.keys import add_keys
from gateway.api.admin.limits import add_limits
from gateway.api.admin.office import Office
from gateway.api.admin.one_adapter import add_one_adapter
from gateway.api.admin.operators import add_operators
from gateway.api.admin.playground import add_playground
from gateway.api.admin.quarantine import add_quarantine
from gateway.api.admin.reconciliation import add_reconciliation
from gateway.api.admin.residency import add_residency
from gateway.api.admin.shadows import add_shadows
from gateway.api.admin.shapes import Failure
from gateway.api.admin.spending import add_spending
from gateway.api.admin.swaps import add_swaps
from gateway.api.admin.tariffs import add_tariffs
from gateway.api.admin.tenants import add_tenants
from gateway.api.admin.traffic import add_traffic
from gateway.api.admin.usage import add_usage
from gateway.api.admin.webhooks import add_webhooks


def admin_router(office: Office, gate: AdminGate) -> APIRouter:
    """Every route, behind operators' keys."""
    router = APIRouter(
        prefix="/admin/v1",
        tags=["admin"],
        route_class=guarded_by(gate, office.registry.db),
        dependencies=[Security(BEARER)],  # shown in /docs; the gate checks it before a body is read
        responses={
            "4XX": {"model": Failure, "description": "Refused: no admin key, a bad field, unknown, or a conflict."},
            "503": {"model": Failure, "description": "No controller leads, or the database is away: see Retry-After."},
        },
    )
    add_operators(router, office)
    add_audit(router, office)
    add_attention(router, office)
    add_fleet(router, office)
    add_traffic(router, office)
    add_engines(router, office)
    add_added_engines(router, office)
    add_residency(router, office)
    add_tenants(router, office)
    add_keys(router, office)
    add_actions(router, office)
    add_adapters(router, office)
    add_one_adapter(router, office)
    add_aliases(router, office)
    add_gates(router, office)
    add_answer_checks(router, office)
    add_shadows(router, office)
    add_swaps(router, office)
    add_experiment_outlook(router, office)
    add_experiments(router, office)
    add_playground(router, office)
    add_ballots(router, office)
    add_quarantine(router, office)
    add_jobs(router, office)
    add_files(router, office)
    add_webhooks(router, office)
    add_budgets(router, office)
    add_spending(router, office)
    add_limits(router, office)
    add_tariffs(router, office)
    add_cost_baselines(router, office)
    add_cost_engines(router, office)
    add_cost_bill(router, office)
    add_cost_radar(router, office)
    add_usage(router, office)
    add_reconciliation(router, office)
    add_archives(router, office)
    add_cost_analysis(router, office)
    add_cost(router, office)
    return router
