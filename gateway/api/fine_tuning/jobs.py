"""`/v1/fine_tuning/jobs`: a tenant orders training, follows it and steers it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.api.fields.checks import shown
from gateway.api.fine_tuning.documents import checkpoint_document, event_document, job_document, page_document
from gateway.api.fine_tuning.options import check_integrations, check_options
from gateway.api.held import json_of
from gateway.api.tenants import body_of, may_train, whole_number
from gateway.errors import BadRequest, Forbidden, NotThere
from gateway.handoffs import Principal
from gateway.house import House
from gateway.training.body import FIELDS, order_of
from gateway.training.faults import said_of
from gateway.training.models import Trainable, trainable
from registry.tenant_files.infos import FINE_TUNE
from registry.training.jobs import JobOrder, NoSuchJob, TrainingJob, Wish
from registry.training.store import NO_FILTER

LISTED_JOBS, LISTED_EVENTS, LISTED_CHECKPOINTS = 20, 20, 10
MOST_JOBS, MOST_EVENTS, MOST_CHECKPOINTS = 100, 1_000, 100
"""In one page."""
MOST_PAIRS = 16
IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")
_PAIR = re.compile(r"metadata\[([^\0]{1,64})\]")


def jobs_router(house: House) -> APIRouter:
    """The routes, in OpenAI's shapes. Another tenant's job is none."""
    router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"])
    _add_orders(router, house)
    _add_pages(router, house)
    return router


def _add_orders(router: APIRouter, house: House) -> None:
    workshop = house.workshop

    @router.post("")
    async def create_job(request: Request) -> dict[str, Any]:
        """Order a training. The same order within a minute, or with the same `Idempotency-Key`, is the same job."""
        principal = may_train(house, request)
        body = await body_of(house, principal, request, FIELDS)

        def model_of(name: str) -> Trainable:
            return trainable(principal, name, house.catalog.current, house.fleet.view())

        order = order_of(body, principal.tenant, house.caps, model_of, _idempotency_key(request))
        _require_own(principal, order)
        check_options(order)
        check_integrations(order, workshop.wandb_entity)
        for param, file_id in (("training_file", order.training_file), ("validation_file", order.validation_file)):
            if file_id is not None:
                await _require_file(house, order, param, file_id)
        create = partial(workshop.jobs.create, order, most_unfinished=workshop.most_unfinished)
        return _document(house, await workshop.do(principal.tenant, create))

    @router.get("/{job_id}")
    async def retrieve_job(job_id: str, request: Request) -> dict[str, Any]:
        """A job as it stands."""
        principal = may_train(house, request)
        return _document(house, await _job(house, principal, job_id))

    def steers(wish: Wish) -> None:
        @router.post(f"/{{job_id}}/{wish}", name=f"{wish}_job", description=f"{wish.capitalize()} a job.")
        async def steer_job(job_id: str, request: Request) -> dict[str, Any]:
            principal = may_train(house, request)
            await _require_usable(house, principal, job_id)
            work = partial(workshop.jobs.order, principal.tenant, job_id, wish)
            return _document(house, await workshop.do(principal.tenant, work))

    steers("cancel")
    steers("pause")
    steers("resume")


def _add_pages(router: APIRouter, house: House) -> None:
    workshop = house.workshop

    @router.get("")
    async def list_jobs(request: Request) -> Response:
        """Jobs, the newest first."""
        principal = may_train(house, request)
        limit = whole_number(request, "limit", LISTED_JOBS, MOST_JOBS)
        after, metadata = request.query_params.get("after"), _metadata_filter(request)
        if after is not None:
            await _require_usable(house, principal, after)
        work = partial(workshop.jobs.page, principal.tenant, after, limit + 1, metadata, principal.adapters)
        found = await workshop.do(principal.tenant, work)
        await workshop.served(principal.tenant, found)
        return json_of(house, principal, page_document(found, limit, partial(_document, house)))

    @router.get("/{job_id}/events")
    async def list_events(job_id: str, request: Request) -> Response:
        """What happened in a job, the newest first."""
        principal = may_train(house, request)
        limit = whole_number(request, "limit", LISTED_EVENTS, MOST_EVENTS)
        await _require_usable(house, principal, job_id)
        work = partial(workshop.jobs.events, principal.tenant, job_id, request.query_params.get("after"), limit + 1)
        found = await workshop.do(principal.tenant, work)
        await _job(house, principal, job_id)  # after its events: the last one may say that it has succeeded
        return json_of(house, principal, page_document(found, limit, event_document))

    @router.get("/{job_id}/checkpoints")
    async def list_checkpoints(job_id: str, request: Request) -> Response:
        """Its checkpoints, the newest first."""
        principal = may_train(house, request)
        limit = whole_number(request, "limit", LISTED_CHECKPOINTS, MOST_CHECKPOINTS)
        job = await _job(house, principal, job_id)
        work = partial(
            workshop.jobs.checkpoints, principal.tenant, job_id, request.query_params.get("after"), limit + 1
        )
        found = await workshop.do(principal.tenant, work)
        return json_of(house, principal, page_document(found, limit, partial(checkpoint_document, job)))


async def _job(house: House, principal: Principal, job_id: str) -> TrainingJob:
    """A job of an adapter that the key is for; any other is none. Raises `ApiError`."""
    job = await house.workshop.job(principal.tenant, job_id)
    if not principal.may_use(job.adapter):
        raise said_of(NoSuchJob(job_id))
    return job


async def _require_usable(house: House, principal: Principal, job_id: str) -> None:
    """Before anything is said of a job to a key for some adapters. Raises `ApiError`."""
    if principal.adapters is not None:
        await _job(house, principal, job_id)


def _require_own(principal: Principal, order: JobOrder) -> None:
    """Raises `Forbidden` where the result would be a version of an adapter that the key is not for."""
    if principal.adapters is not None and order.adapter not in principal.adapters:
        named = "a new adapter" if order.adapter is None else f"the adapter '{order.adapter}'"
        raise Forbidden(
            f"The result would be a version of {named}, and this key is for {', '.join(sorted(principal.adapters))}. "
            "Let 'suffix' name one of these.",
            param="suffix",
            code="missing_scope",
        )


def _document(house: House, job: TrainingJob) -> dict[str, Any]:
    return job_document(job, house.catalog.current)


async def _require_file(house: House, order: JobOrder, param: str, file_id: str) -> None:
    """Raises `ApiError` for a file that is not there, or not to train with."""
    cabinet = house.cabinet
    try:
        info = await cabinet.do(order.tenant, partial(cabinet.files.get, order.tenant, file_id))
    except NotThere as error:
        error.param = param
        raise
    if info.purpose != FINE_TUNE:
        raise BadRequest(
            f"'{param}' is {shown(file_id)}, which was uploaded for '{info.purpose}'. Upload it with the purpose "
            f"'{FINE_TUNE}'.",
            param=param,
            code="invalid_file_purpose",
        )


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise BadRequest(
            f"'{IDEMPOTENCY_KEY}' must be 1 to 255 printable ASCII characters without spaces.",
            param=IDEMPOTENCY_KEY,
            code="invalid_value",
        )
    return key


def _metadata_filter(request: Request) -> dict[str, str] | Any | None:
    """What `metadata[key]=value` asks for; `None` is asked for by `metadata=null`. Raises `BadRequest`."""
    pairs: dict[str, str] = {}
    literal = request.query_params.get("metadata")
    for name, value in request.query_params.multi_items():
        if not name.startswith("metadata["):
            continue
        pair = _PAIR.fullmatch(name)
        if pair is None or "\0" in value or len(value) > 512:
            raise BadRequest(
                f"'{name[:80]}' is no pair of metadata: keys have 1 to 64 characters, and values at most 512.",
                param="metadata",
                code="invalid_value",
            )
        pairs[pair[1]] = value
    if literal is not None and (literal != "null" or pairs):
        raise BadRequest(
            "'metadata' must be 'null' alone, for jobs without metadata, or 'metadata[key]=value' for those that have "
            "a pair.",
            param="metadata",
            code="invalid_value",
        )
    if len(pairs) > MOST_PAIRS:
        raise BadRequest(
            f"'metadata' has {len(pairs)} pairs; the most is {MOST_PAIRS}.", param="metadata", code="invalid_value"
        )
    return None if literal is not None else pairs or NO_FILTER
