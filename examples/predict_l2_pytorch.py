"""λ prediction and AutoL2 around a PyTorch loop: ``python examples/predict_l2_pytorch.py``, about a minute.

PyTorch's ``weight_decay`` of SGD is the coefficient λ of the paper: it adds λθ to the gradient before momentum.
"""

import torch
from compare import cifar10, compare, steps_option

from l2dynamics import AutoL2

x, y, x_test, y_test = (torch.from_numpy(array) for array in cifar10(train=2000, test=1000))
x, x_test = (images.movedim(3, 1).contiguous() for images in (x, x_test))  # NCHW
y, y_test = y.long(), y_test.long()


def make_run(l2, seed, rule=None):
    """Train with a constant coefficient, or with that of the rule; yield (step, test accuracy)."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 32, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=l2)
    auto = rule.init() if rule else None
    for step in range(10**9):
        if step % 5 == 0:
            with torch.no_grad():
                yield step, (model(x_test).argmax(-1) == y_test).float().mean().item()
        batch = torch.randint(len(x), (64,))
        logits = model(x[batch])
        loss = torch.nn.functional.cross_entropy(logits, y[batch])
        if rule and step > 0 and step % rule.every == 0:
            error = (logits.argmax(-1) != y[batch]).float().mean()
            auto = rule.update(auto, step, loss.item(), error.item())
            optimizer.param_groups[0]["weight_decay"] = float(auto.l2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    rule = AutoL2()
    compare(make_run, make_run(rule.init_l2, 0, rule), steps_option(1000), grid=(3e-3, 1e-2, 3e-2, 1e-1))
