"""Lightning: AutoL2 as a callback of the ``Trainer``."""

from collections.abc import Mapping
from typing import Any

import lightning
import torch

from l2dynamics.autol2 import AutoL2 as Rule
from l2dynamics.torch import AutoL2


class AutoL2Callback(lightning.Callback):
    """AutoL2 for the optimizer of a module with automatic optimization (supplement E).

    ``Trainer(callbacks=[AutoL2Callback()])``. The loss is that which ``training_step`` returns; it must not hold an L2
    term. Checkpoints of the ``Trainer`` hold the rule's state.

    Args:
        rule: :class:`l2dynamics.AutoL2`; None takes that for the optimizer's learning rate and the training's length.
        error: name under which the module logs the training error (1 − accuracy); None measures on the loss alone.
        optimizer: which of the ``Trainer``'s optimizers.
    """

    def __init__(self, rule: Rule | None = None, *, error: str | None = None, optimizer: int = 0):
        super().__init__()
        self.rule, self.error, self.index = rule, error, optimizer
        self.auto: AutoL2 | None = None
        self._restored: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take hold of the optimizer.

        Raises:
            ValueError: the training has no end, so that the rule has to be given.
        """
        steps = trainer.estimated_stepping_batches
        if self.rule is None and steps == float("inf"):
            raise ValueError(
                "rule is missing: the training has no end, give AutoL2.for_training(…) or max_steps"
            )
        self.auto = AutoL2(
            trainer.optimizers[self.index],
            self.rule,
            steps=None if self.rule is not None else int(steps),
            hook=False,  # Lightning computes the loss inside the step
        )
        if self._restored is not None:
            self.auto.load_state_dict(self._restored)

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: torch.Tensor
    ) -> None:
        """Take note of a batch; Lightning has divided its loss by the number of accumulated ones."""
        assert self.auto is not None
        error = None if self.error is None else trainer.callback_metrics[self.error]
        self.auto.measure(loss.detach() * trainer.accumulate_grad_batches, error)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Set the coefficient of the update that follows."""
        assert self.auto is not None
        if optimizer is self.auto.optimizer or getattr(optimizer, "optimizer", None) is self.auto.optimizer:
            self.auto.before_update()

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {} if self.auto is None else self.auto.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint, as soon as the training starts."""
        self._restored = state_dict or None
