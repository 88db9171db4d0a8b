"""The callback in the real Trainer against the rule itself."""

import warnings

import pytest

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lightning = pytest.importorskip("lightning")

from l2dynamics import AutoL2  # noqa: E402
from l2dynamics.lightning import AutoL2Callback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Module(lightning.LightningModule):
    """Its losses are given; the coefficient of every step is kept."""

    def __init__(self):
        super().__init__()
        self.weight, self.record, self.losses = torch.nn.Parameter(torch.ones(2)), [], []

    def training_step(self, batch, _):
        self.record.append(self.optimizers().optimizer.param_groups[0]["weight_decay"])
        self.losses.append(float(batch))
        return batch.sum() + 0 * self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fit(callback, losses, **options):
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[callback],
        **options,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.tensor(losses), batch_size=1))
    return module, trainer


@pytest.mark.parametrize("accumulated", [1, 2])
def test_coefficients_are_those_of_the_rule(accumulated):
    rule, losses = AutoL2(every=2, refractory=0.01), [float(n % 7) for n in range(60)]
    callback = AutoL2Callback(rule)
    record = []
    callback.on_train_batch_end = lambda *_: record.append(callback.auto.state.previous_loss)
    fit(callback, losses, accumulate_grad_batches=accumulated)
    state, updates, expected = rule.init(), len(losses) // accumulated, []
    for step in range(2, updates, 2):
        group = losses[step * accumulated : (step + 1) * accumulated]
        mean = sum(group) / accumulated
        state = rule.update(state, step, mean, mean)
        expected.append(mean)
    assert state.l2 < rule.init_l2
    assert callback.auto.updates == updates
    assert callback.auto.l2 == state.l2
    assert record[2 * accumulated + accumulated - 1 :: 2 * accumulated] == expected


def test_the_rule_is_that_for_the_training():
    callback = AutoL2Callback()
    fit(callback, [1.0] * 30)
    assert callback.auto.rule == AutoL2.for_training(0.1, 0.9, 30)


def test_checkpoints_hold_the_state():
    callback = AutoL2Callback(AutoL2(every=1, refractory=0.0))
    fit(callback, [1.0, 2.0, 3.0, 4.0])
    restored = AutoL2Callback(AutoL2(every=1, refractory=0.0))
    restored.load_state_dict(callback.state_dict())
    fit(restored, [9.0])
    assert restored.auto.updates == callback.auto.updates + 1
    assert restored.auto.state.measurements == callback.auto.state.measurements + 1
