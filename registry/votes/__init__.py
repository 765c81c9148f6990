"""What people say of pairs of answers that they saw without names: one vote of each on each pair.

No text is kept: a pair is called by the digest of its prompt and answers, a comparison by that of what was compared.
"""
