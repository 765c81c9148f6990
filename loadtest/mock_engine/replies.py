"""The JSON of vLLM's answers, field for field (vllm/entrypoints/openai/{completion,chat_completion}/protocol.py).

Unstreamed answers carry every field, nulls included; stream events carry only the fields that vLLM sets.
"""

from __future__ import annotations

import uuid
from typing import Any

from loadtest.mock_engine.answers import Choice, decode, proven_logprob, top_logprobs
from loadtest.mock_engine.jobs import Job
from loadtest.mock_engine.options import Options
from loadtest.mock_engine.queues import CacheUse
from loadtest.mock_engine.serving import Serving

Json = dict[str, Any]


def usage(job: Job, completion_tokens: int, cache: CacheUse) -> Json:
    """Token counts with vLLM's details (`--enable-prompt-tokens-details`)."""
    created = cache.created if job.kind == "chat" else None
    details: Json | None = {"cached_tokens": cache.cached, "created_cache_tokens": created, "multimodal_tokens": None}
    return {
        "prompt_tokens": job.prompt_tokens,
        "total_tokens": job.prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": details if job.counts_cached else None,
        "completion_tokens_details": None,
    }


def full_reply(job: Job, serving: Serving, choices: list[Choice], cache: CacheUse) -> Json:
    """The body of an unstreamed answer."""
    reply: Json = {
        "id": job.id,
        "object": "chat.completion" if job.kind == "chat" else "text_completion",
        "created": job.created,
        "model": serving.model,
        "choices": [
            _chat_choice(job, serving, choice) if job.kind == "chat" else _text_choice(job, serving, choice)
            for choice in choices
        ],
        "service_tier": None,
        "system_fingerprint": None,  # as with --fingerprint-mode none, which the gateway's engines run with
        "usage": usage(job, sum(len(choice.token_ids) for choice in choices), cache),
    }
    if job.kind == "chat":
        reply["prompt_logprobs"] = prompt_logprobs(job, serving, 0)
        reply["prompt_token_ids"] = job.prompts[0] if job.return_token_ids else None
        reply["prompt_text"] = None
    reply.update(kv_transfer_params=None, ec_transfer_params=None, metrics=None)
    return reply


def _text_choice(job: Job, serving: Serving, choice: Choice) -> Json:
    which = choice.index // job.n
    return {
        "index": choice.index,
        "text": job.echo_text(choice.index) + ("" if job.says_nothing else "".join(choice.words)),
        "logprobs": text_logprobs(job, serving, choice, 0, 0 if job.says_nothing else len(choice.words)),
        "finish_reason": choice.finish_reason,
        "stop_reason": None,
        "token_ids": choice.token_ids if job.return_token_ids else None,
        "prompt_logprobs": prompt_logprobs(job, serving, which),
        "prompt_token_ids": job.prompts[which] if job.return_token_ids else None,
        "routed_experts": None,
    }


def _chat_choice(job: Job, serving: Serving, choice: Choice) -> Json:
    return {
        "index": choice.index,
        "message": {
            "role": "assistant",
            "content": job.echo_text(choice.index) + "".join(choice.words),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
            **(job.said.message(job.id, choice) if job.said is not None and job.said.calls else {}),
        },
        "logprobs": chat_logprobs(job, serving, choice, 0, len(choice.words)),
        "finish_reason": choice.finish_reason,
        "stop_reason": None,
        "token_ids": choice.token_ids if job.return_token_ids else None,
        "routed_experts": None,
    }


def text_logprobs(job: Job, serving: Serving, choice: Choice, start: int, end: int) -> Json | None:
    """Completions' `logprobs` for the tokens start..end of a choice, after those of an echoed prompt."""
    if job.logprobs is None:
        return None
    words: list[str] = []
    chosen: list[float | None] = []
    tops: list[Json | None] = []
    if start == 0 and job.echo_words:
        which = choice.index // job.n
        words += job.echo_words[which]
        for entries in _scores(job, serving, which, job.logprobs):
            chosen.append(None if entries is None else next(iter(entries.values()))[0])
            tops.append(None if entries is None else {_token(job, token): one[0] for token, one in entries.items()})
    for place in range(start, end):
        entries = top_logprobs(serving.who, choice.token_ids[place], place, job.logprobs, serving.vocab_size)
        proven = _proven(job, serving, choice) if place == 0 else None
        chosen.append(entries[choice.token_ids[place]][0] if proven is None else proven)
        tops.append({_token(job, token): logprob for token, (logprob, _) in entries.items()})
        words.append(choice.words[place])
    before = sum(map(len, (*job.echo_text(choice.index), *choice.words[:start]))) if start else 0
    offsets = [before + sum(map(len, words[:place])) for place in range(len(words))]
    if job.tokens_as_ids:
        words = [_token(job, token) for token in _ids(job, choice, start, end)]
    return {"text_offset": offsets, "token_logprobs": chosen, "tokens": words, "top_logprobs": tops}


def _ids(job: Job, choice: Choice, start: int, end: int) -> list[int]:
    prompt = job.prompts[choice.index // job.n] if start == 0 and job.echo_words else ()
    return [*prompt, *choice.token_ids[start:end]]


def _token(job: Job, token: int) -> str:
    return f"token_id:{token}" if job.tokens_as_ids else decode(token)


def _scores(job: Job, serving: Serving, which: int, count: int) -> list[dict[int, tuple[float, int]] | None]:
    """For each token of a prompt its log-probability and others'; None for the first, which follows nothing."""
    prompt = job.prompts[which]
    rest = range(1, len(prompt))
    return [None, *(top_logprobs(serving.who, prompt[n], n, count, serving.vocab_size) for n in rest)]


def prompt_logprobs(job: Job, serving: Serving, which: int) -> list[Json | None] | None:
    """vLLM's own field, which an echo with log-probabilities fills too."""
    if job.prompt_logprobs is None:
        return None
    return [
        None
        if entries is None
        else {
            str(token): {"logprob": logprob, "rank": rank, "decoded_token": decode(token)}
            for token, (logprob, rank) in entries.items()
        }
        for entries in _scores(job, serving, which, job.prompt_logprobs)
    ]


def _proven(job: Job, serving: Serving, choice: Choice) -> float | None:
    prompt = job.prompts[choice.index // job.n]
    return proven_logprob(serving.table, serving.weights, serving.noop, prompt, choice.token_ids[0])


def chat_logprobs(job: Job, serving: Serving, choice: Choice, start: int, end: int) -> Json | None:
    """Chat's `logprobs` for the tokens start..end of a choice."""
    if job.logprobs is None:
        return None
    content = []
    for place in range(start, end):
        entries = top_logprobs(serving.who, choice.token_ids[place], place, job.logprobs, serving.vocab_size)
        listed = [_chat_logprob(_token(job, token), logprob) for token, (logprob, _) in entries.items()]
        content.append({**listed[0], "top_logprobs": listed[: job.logprobs]})
    return {"content": content}


def _chat_logprob(text: str, logprob: float) -> Json:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


class StreamEvents:
    """The events of one stream, in vLLM's order: roles (chat), tokens, usage. [DONE] is the sender's."""

    def __init__(self, job: Job, model: str) -> None:
        self._job = job
        self._model = model

    def _event(self, choices: list[Json]) -> Json:
        kind = "chat.completion.chunk" if self._job.kind == "chat" else "text_completion"
        return {
            "id": self._job.id,
            "object": kind,
            "created": self._job.created,
            "model": self._model,
            "choices": choices,
        }

    def opening(self) -> list[Json]:
        """Chat opens with one event per choice that names the role."""
        if self._job.kind == "text":
            return []
        events = []
        for index in range(self._job.n):
            delta = {"role": "assistant", "content": ""}
            event = self._event([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])
            if self._job.continuous_usage:
                event["usage"] = self._running_usage(0, 0)
            event["prompt_token_ids"] = self._job.prompts[0] if self._job.return_token_ids else None
            event["prompt_text"] = None
            events.append(event)
        return events

    def tokens(self, serving: Serving, choice: Choice, start: int, end: int) -> Json:
        """The event of the tokens start..end of a choice."""
        job, last = self._job, end == len(choice.words)
        ids = choice.token_ids[start:end] if job.return_token_ids else None
        text = "".join(choice.words[start:end])
        finish = choice.finish_reason if last else None
        body: Json = {"index": choice.index}
        if job.kind == "chat":
            body["delta"] = (
                job.said.delta(job.id, choice, start, end) if job.said and job.said.calls else {"content": text}
            )
            body["logprobs"] = chat_logprobs(job, serving, choice, start, end)
            body["finish_reason"] = finish
            if last:
                body["stop_reason"] = None
            body["token_ids"] = ids
        else:
            echo = job.echo_text(choice.index) if start == 0 else ""
            body["text"] = echo + ("" if job.says_nothing else text)
            body["logprobs"] = text_logprobs(job, serving, choice, start, start if job.says_nothing else end)
            body["finish_reason"] = finish
            body["stop_reason"] = None
            first_ids = job.prompts[choice.index // job.n] if job.return_token_ids and start == 0 else None
            body.update(prompt_token_ids=first_ids, token_ids=ids)
        event = self._event([body])
        if job.continuous_usage:
            event["usage"] = self._running_usage(choice.index, end)
        return event

    def closing(self, completion_tokens: int, cache: CacheUse) -> list[Json]:
        """The usage event, when it was asked for; its `choices` are empty."""
        if not self._job.include_usage:
            return []
        event = self._event([])
        counts = usage(self._job, completion_tokens, cache)
        if counts["prompt_tokens_details"] is not None:
            counts["prompt_tokens_details"] = _without_nulls(counts["prompt_tokens_details"])
        event["usage"] = _without_nulls(counts)
        return [event]

    def _running_usage(self, index: int, completion_tokens: int) -> Json:
        """Of one choice and its own prompt, of however many."""
        prompt_tokens = len(self._job.prompts[index // self._job.n])
        counts = usage(self._job, completion_tokens, CacheUse(0, 0))
        counts |= {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens + completion_tokens}
        del counts["prompt_tokens_details"]
        if self._job.kind == "text":
            del counts["completion_tokens_details"]
        return counts


def _without_nulls(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def model_cards(options: Options, loaded: list[tuple[str, str]], now: int) -> Json:
    """`/v1/models`; `loaded` is (name, path). `created` is fresh on every call, as in vLLM."""
    first = options.served_model_name[0]
    cards = [_card(name, options.model, None, options.max_model_len, now) for name in options.served_model_name]
    cards += [_card(name, path, first, None, now) for name, path in loaded]
    return {"object": "list", "data": cards}


def _card(name: str, root: str, parent: str | None, max_model_len: int | None, now: int) -> Json:
    permission: Json = {
        "id": f"modelperm-{uuid.uuid4().hex[:16]}",
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": now,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
        "permission": [permission],
    }
