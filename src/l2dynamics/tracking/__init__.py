"""MLflow as a view of the results: live while training, complete after stage ``track``, never needed.

The results files are the truth. A training stage hands its runs to :class:`l2dynamics.tracking.live.Tracker`, which
costs it one small file per run and never fails; :func:`l2dynamics.tracking.sync.sync` completes and repairs the
store from the files. Both write through :mod:`l2dynamics.tracking.store`, the only module that imports MLflow.
"""
