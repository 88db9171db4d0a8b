"""The columns of a results table. A module of its own: who trains needs these names, and no pandas."""

#: Constant within a run (``l2`` excepted: in autol2 results it is the coefficient in force at that step).
RUN_COLUMNS = ("run", "group", "eta", "l2", "seed", "sigma_w", "budget")
METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "l2_norm")
#: Correct test images in each of 20 blocks, image i in block i mod 20; their sum is the accuracy times the images.
BLOCKS = tuple(f"correct_{block:02}" for block in range(20))
#: With the name of a layer: mean over its output channels of ln ‖w‖, where a setup asks for ``weight_norms``.
LOG_NORM = "log_norm_"
#: Order of the columns in the file. ``budget`` and ``epoch`` in epochs, ``train_loss`` without the L2 term.
COLUMNS = (*RUN_COLUMNS, "step", "epoch", *METRICS, *BLOCKS)
