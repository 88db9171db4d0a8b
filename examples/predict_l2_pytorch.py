"""λ prediction and AutoL2 around a PyTorch loop: ``python examples/predict_l2_pytorch.py``, about a minute.

Full-batch training on 512 samples of MNIST, as in the paper's fully-connected experiments.

PyTorch's ``weight_decay`` of SGD is the coefficient λ of the paper: it adds λθ to the gradient before momentum.
"""

import torch
from compare import compare, sample, steps_option

from l2dynamics import AutoL2

torch.set_num_threads(1)  # layers this small lose time when they are split
x, y, x_test, y_test = (torch.from_numpy(a) for a in sample("mnist", train=512, test=1000, size=28))
x, x_test, y, y_test = x.flatten(1), x_test.flatten(1), y.long(), y_test.long()


def make_run(l2, seed, rule=None):
    """Train with a constant coefficient, or with that of the rule; yield (step, test accuracy)."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=l2)
    auto = rule.init() if rule else None
    for step in range(10**9):
        if step % 5 == 0:
            with torch.no_grad():
                yield step, (model(x_test).argmax(-1) == y_test).float().mean().item()
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits, y)
        if rule and step > 0 and step % rule.every == 0:
            error = (logits.argmax(-1) != y).float().mean()
            auto = rule.update(auto, step, loss.item(), error.item())
            optimizer.param_groups[0]["weight_decay"] = float(auto.l2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    rule = AutoL2()
    compare(make_run, make_run(rule.init_l2, 0, rule), steps_option(1500), grid=(3e-3, 1e-2, 3e-2, 1e-1))
