"""A sweep of seconds, as the text of a scale."""

_SCALE = """
fc:
  setup:
    data: {name: mnist, train: 64, test: 64, image_size: 7}
    model: {kind: fc, depth: 2, width: 16}
    batch: 64
    sigma_w: 1.4
    eval_batch: 64
  evaluations_per_decade: 8
  grids:
    - {eta: [0.5], l2: [0.01], seeds: SEEDS, length: {epochs: EPOCHS}}
"""


def scale_text(seeds: int, epochs: int) -> str:
    """Content of a ``scales/*.yaml`` with the section ``fc`` only."""
    return _SCALE.replace("SEEDS", str(seeds)).replace("EPOCHS", str(epochs))
