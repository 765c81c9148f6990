"""Rows: read, checked, compared, split, and turned into tokens; nothing here loads a model.

file ─ dvc ─▶ lines or arrays ─▶ formats ─▶ parse (turns, tools) ─▶ Dataset ─┬─▶ split, overlap, near ─▶ Sets ─▶ encode
                                                     faults, with lines      └─▶ checks, privacy, … ─▶ Finding ─▶ report

A row that cannot be used is a `Fault`, all of a file at once in one `DataError`; what seems wrong with rows that can be
used is a `Finding`. A new check is a function in `checks.py` and its place in `CHECKLIST`; a new form of rows is an
entry in `formats.py` and a parser in `parse.py`.
"""
