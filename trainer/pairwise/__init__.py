"""Two models answer the same prompts, and somebody who does not know which is which says whose answer is better.

prompts → pairs.py (order and places, by a seed) → run.py (asks, and a model judges) → run_file.py (all is kept)
votes of people, and what is counted → winners.py; how far judges agree → agreement.py; rows for DPO → preferences.py

How sure a preference is, is for whoever calls: a unit (a conversation) counts once, in a random order.
"""
