"""The networks of :mod:`bench.trainings` in PyTorch, and their training."""

from functools import cache
from typing import Any

import torch
from torch import nn

import l2dynamics.torch
from bench.trainings import BATCH, CLASSES, Curve, Training, endless, images
from l2dynamics import AutoL2

torch.set_num_threads(1)


class Vit(nn.Module):
    """A vision transformer: 16 patches of 4 × 4, width 32, two blocks of four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 32, 4, stride=4)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.last = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.last(self.blocks(self.embed(x).flatten(2).mT + self.place).mean(1))


class Gru(nn.Module):
    """A GRU of 64 units over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.last = nn.GRU(48, 64, batch_first=True), nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.last(self.rnn(x.permute(0, 2, 3, 1).flatten(2))[0][:, -1])


def conv(a: int, b: int, stride: int, norm: bool) -> list[nn.Module]:
    """A convolution with ReLU, and batch norm between them if asked for."""
    return [nn.Conv2d(a, b, 3, stride=stride, padding=1), *([nn.BatchNorm2d(b)] if norm else []), nn.ReLU()]


def cnn(norm: bool) -> nn.Module:
    """Three convolutions and a dense layer."""
    layers = [*conv(3, 16, 2, norm), *conv(16, 32, 2, norm), *conv(32, 32, 1, norm)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, CLASSES))


def mlp(inputs: int, dropout: float) -> nn.Module:
    """Two hidden layers of 256."""
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in ((inputs, 256), (256, 256)):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(256, CLASSES))


def build(training: Training) -> nn.Module:
    """Make the network of a training."""
    if training.network == "fc":
        return mlp(images(training.data)[0][0].size, 0.0)
    return {
        "cnn_bn": lambda: cnn(True),
        "cnn": lambda: cnn(False),
        "mlp": lambda: mlp(768, 0.2),
        "vit": Vit,
        "gru": Gru,
    }[training.network]()


def optimizer(training: Training, parameters: Any) -> torch.optim.Optimizer:
    """Make the optimizer of a training."""
    if training.adamw:
        return torch.optim.AdamW(parameters, lr=training.learning_rate)
    return torch.optim.SGD(parameters, lr=training.learning_rate, momentum=training.momentum)


@cache
def tensors(name: str) -> tuple[torch.Tensor, ...]:
    """Images with channels first, and labels."""
    x, y, x_test, y_test = (torch.from_numpy(part) for part in images(name))
    return (
        x.permute(0, 3, 1, 2).contiguous(),
        y.long(),
        x_test.permute(0, 3, 1, 2).contiguous(),
        y_test.long(),
    )


def accuracy(training: Training, model: nn.Module) -> float:
    """Return the accuracy on the test images; the network is in its evaluation mode."""
    _, _, x, y = tensors(training.data)
    with torch.no_grad():
        return float((model(x).argmax(-1) == y).float().mean())


def make_run(training: Training) -> Any:
    """See :meth:`bench.trainings.Training.make_run`."""
    x, y, _, _ = tensors(training.data)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), BATCH, shuffle=True, drop_last=True
    )
    return l2dynamics.torch.make_run(
        lambda: build(training),
        lambda parameters: optimizer(training, parameters),
        loader,
        lambda model: accuracy(training, model),
        evaluate_every=training.every,
        classes=CLASSES,
    )


def train(training: Training, l2: float | AutoL2, seed: int) -> Curve:
    """See :meth:`bench.trainings.Training.run`."""
    torch.manual_seed(seed)
    x, y, _, _ = tensors(training.data)
    model = build(training)
    made = optimizer(training, model.parameters())
    auto = None
    if isinstance(l2, AutoL2):
        auto = l2dynamics.torch.AutoL2(made, l2)
    else:
        l2dynamics.torch.set_l2(made, l2)
    batches = endless(len(x), seed)
    model.train()
    for step in range(training.steps):
        made.param_groups[0]["lr"] = training.rate_at(step)
        chosen = torch.from_numpy(next(batches))
        logits = model(x[chosen])
        loss = nn.functional.cross_entropy(logits, y[chosen])
        if auto is not None:
            auto.measure(loss, (logits.argmax(-1) != y[chosen]).float().mean())
        made.zero_grad()
        loss.backward()
        made.step()
        if (step + 1) % training.every == 0:
            model.eval()
            yield step + 1, accuracy(training, model)
            model.train()
