"""Spans of requests and of attempts at engines: what is told of them, by OpenTelemetry's names where it has some.

Ids, names, numbers and times; never prompts, answers, keys, or what else a client has written but the model's name.
"""
