"""The numbers that decide what counts: learned, peaked, near the best. Accuracies are absolute, in 0 … 1."""

LEARNED = 2.0
"""A run has learned if its maximum test accuracy is at least this many times chance (0.2 for ten classes)."""

MEASURABLE = 1.5
"""Of a run at large λ the coefficient c is measured if its maximum is at least this many times chance (Section 3).

It is less than :data:`LEARNED`: at the large λ that make these runs short no accuracy is high, and only the time of
the maximum is wanted.
"""

PEAKED_WITHIN = 0.8
"""A run has peaked if t* lies in this first part of it; if not, it only bounds t* from below."""

FIT_WITHIN = 0.5
"""t* enters a fit if it lies in this first part of the run: later, a run of fixed length may just be saturating."""

NEAR_BEST = 0.5
"""λ within so many standard errors of the best accuracy count as tuned too (error bars of Figure 4b).

The paper's 0.1 % is half the standard error of its accuracy of 0.96 on 10,000 images.
"""
