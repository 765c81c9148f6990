"""The pages, in the order of the navigation. One line each; a page's module exports `PAGE`."""

from __future__ import annotations

from dashboard.pages.adapters import PAGE as ADAPTERS
from dashboard.pages.audit import PAGE as AUDIT
from dashboard.pages.cost import PAGE as COST
from dashboard.pages.experiments import PAGE as EXPERIMENTS
from dashboard.pages.fleet import PAGE as FLEET
from dashboard.pages.overview import PAGE as OVERVIEW
from dashboard.pages.portal import PAGE as PORTAL
from dashboard.pages.tenants import PAGE as TENANTS
from dashboard.pages.training import PAGE as TRAINING
from dashboard.web import Page

PAGES: tuple[Page, ...] = (
    OVERVIEW,
    FLEET,
    ADAPTERS,
    EXPERIMENTS,
    TRAINING,
    COST,
    TENANTS,
    PORTAL,
    AUDIT,
)
