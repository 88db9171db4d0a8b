"""The claims of the paper and ours, judged on the results: one flat record each, with criterion, interval and verdict.

Claims ``01`` … ``18`` are the paper's, ``01-fc`` and the like their parts per setup, ``c1`` and so on ours.
A claim is confirmed, contradicted or not decided; what its runs lack for a decision is its reason, never an error.
Claims 16–18 on the theory come from :mod:`l2dynamics.claims.theory`.
"""
