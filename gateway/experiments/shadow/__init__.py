"""Copies of requests to a candidate version: which are made, when, on which engine, and what came of both answers.

A copy begins when the client has the first byte of its own answer, on the same engine where that has the candidate: so
it delays no first token of the request that it is a copy of, and meets the engine as that has met it.
"""
