"""Rows that a model wrote: asked for, kept apart as drafts, and read by a person before anything is trained on them.

generate.py, augment.py → writer.py (asks) → drafts.py (quarantine) → review.py (a person's word) → rows to train on
"""
