"""What came of answers: what was found in them, what clients say of them, and what judges do. And what an adapter wants
to have found in its answers.
"""
