"""l2dynamics.torch against plain PyTorch, the rule itself, and suggest_l2."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from l2dynamics import AutoL2, suggest_l2  # noqa: E402
from l2dynamics import torch as ours  # noqa: E402


def linear(**options):
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    return parameter, torch.optim.SGD([parameter], lr=0.1, momentum=0.9, **options)


def train(parameter, optimizer, losses, auto=None):
    """Zero gradients, so that only weight decay acts; the coefficient in force at every update."""
    record = []
    for loss in losses:
        if auto is not None:
            auto.measure(torch.tensor(loss), torch.tensor(0.5))
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        record.append(optimizer.param_groups[0]["weight_decay"])
    return record


def test_coefficients_are_those_of_the_rule():
    rule, losses = AutoL2(every=3, refractory=0.01), [float(n % 17) for n in range(100)]
    parameter, optimizer = linear()
    found = train(parameter, optimizer, losses, ours.AutoL2(optimizer, rule))
    state, expected = rule.init(), []
    for step, loss in enumerate(losses):
        if step > 0 and step % 3 == 0:
            state = rule.update(state, step, loss, 0.5)
        expected.append(state.l2)
    assert len(set(expected)) > 2
    assert found == expected


def test_weight_decay_of_sgd_is_the_coefficient():
    a, sgd = linear(weight_decay=0.3)
    b, auto_sgd = linear()
    auto = ours.AutoL2(auto_sgd, AutoL2(init_l2=0.3, every=1000))
    train(a, sgd, [1.0] * 20)
    train(b, auto_sgd, [1.0] * 20, auto)
    torch.testing.assert_close(a, b)


def test_accumulated_microbatches_count_as_their_mean():
    rule = AutoL2(every=1)
    parameter, optimizer = linear()
    auto = ours.AutoL2(optimizer, rule)
    parameter.grad = torch.zeros_like(parameter)
    for batch in ([1, 3], [5, 5], [9, 3]):
        for loss in batch:
            auto.measure(float(loss), 0.5)
        optimizer.step()
    assert auto.state.previous_loss == 6.0


@pytest.mark.parametrize("fused", [False, True])
def test_updates_that_are_skipped_do_not_count(fused):
    """GradScaler does not call the optimizer, or calls a fused one with found_inf."""
    parameter, optimizer = linear(fused=fused)
    auto = ours.AutoL2(optimizer, AutoL2(every=1))
    train(parameter, optimizer, [1.0, 2.0], auto)
    scaler = torch.amp.GradScaler("cpu")
    for bad in (True, False):
        auto.measure(1.0)
        optimizer.zero_grad()
        scaler.scale((parameter * (float("inf") if bad else 1.0)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert auto.updates == (2 if bad else 3)


def test_the_loss_of_a_skipped_update_is_forgotten():
    """A fused optimizer is called with found_inf; the overflown loss must not lower the coefficient."""
    parameter, optimizer = linear(fused=True)
    auto = ours.AutoL2(optimizer, AutoL2(every=1))
    train(parameter, optimizer, [1.0, 2.0], auto)
    optimizer.found_inf = torch.tensor(1.0)
    train(parameter, optimizer, [float("inf")], auto)
    optimizer.found_inf = None
    train(parameter, optimizer, [3.0], auto)
    assert (auto.updates, auto.state.previous_loss) == (3, 3.0)


def test_a_loss_that_is_not_finite_is_forgotten_where_its_update_was_skipped():
    """GradScaler does not call an optimizer that is not fused; without it, such a loss is an increase."""
    parameter, optimizer = linear()
    auto = ours.AutoL2(optimizer, AutoL2(every=1))
    train(parameter, optimizer, [1.0, 2.0], auto)
    auto.measure(float("inf"))
    auto.measure(0.5)
    optimizer.step()
    assert auto.state.previous_loss == 0.5
    train(parameter, optimizer, [float("inf")], auto)
    assert auto.state.previous_loss > 1e30


@pytest.mark.parametrize(
    ("name", "options", "rate", "momentum"),
    [
        ("SGD", {"momentum": 0.9}, 0.02, 0.9),
        ("SGD", {"momentum": 0.9, "dampening": 0.9}, 0.002, 0.9),
        ("SGD", {}, 0.02, 0.0),
        ("AdamW", {}, 0.02, 0.0),
        ("Muon", {}, 0.02, 0.0),
    ],
)
def test_the_rate_is_that_by_which_weights_shrink(name, options, rate, momentum):
    if not hasattr(torch.optim, name):
        pytest.skip(f"this PyTorch has no {name}")
    weights = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = getattr(torch.optim, name)([weights], lr=0.02, **options)
    assert ours.rates(optimizer) == (pytest.approx(rate), momentum)


def test_a_scheduler_that_has_lowered_the_rate_does_not_count():
    _, optimizer = linear()
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
    assert ours.rates(optimizer) == (0.1, 0.9)


def test_checkpoint_goes_on_where_it_was():
    losses = [float(n % 7) for n in range(60)]
    rule = AutoL2(every=2, refractory=0.01)
    parameter, optimizer = linear()
    whole = train(parameter, optimizer, losses, ours.AutoL2(optimizer, rule))
    parameter, optimizer = linear()
    auto = ours.AutoL2(optimizer, rule)
    first = train(parameter, optimizer, losses[:31], auto)
    saved, of_optimizer = auto.state_dict(), optimizer.state_dict()
    parameter, optimizer = linear()
    auto = ours.AutoL2(optimizer, rule)
    optimizer.load_state_dict(of_optimizer)
    auto.load_state_dict(saved)
    assert first + train(parameter, optimizer, losses[31:], auto) == whole


def test_groups_without_decay_keep_it():
    weights, biases = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.AdamW(
        [{"params": [weights], "weight_decay": 0.1}, {"params": [biases], "weight_decay": 0.0}], lr=1e-3
    )
    ours.set_l2(optimizer, 0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    ours.set_l2(optimizer, 0.5, groups=[0, 1])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_without_a_rule_it_is_that_for_the_training():
    _, optimizer = linear()
    assert ours.AutoL2(optimizer, steps=500).rule == AutoL2.for_training(0.1, 0.9, 500)
    with pytest.raises(ValueError, match=r"^steps is missing: give the length of the training"):
        ours.AutoL2(optimizer)


def test_what_is_missing_is_named():
    parameter, optimizer = linear()
    ours.AutoL2(optimizer, AutoL2(every=1))
    with pytest.raises(ValueError, match=r"was told no loss: call auto.measure"):
        train(parameter, optimizer, [1.0] * 3)
    with pytest.raises(ValueError, match=r"^optimizer: LBFGS has no weight_decay"):
        ours.AutoL2(torch.optim.LBFGS([parameter]), steps=10)


def blobs():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 10, generator=generator)
    labels = torch.arange(400) % 4
    return centres[labels] + torch.randn(400, 10, generator=generator), labels


def run_on_blobs(optimizer, **options):
    x, y = blobs()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:200], y[:200]), 50, shuffle=True)
    return ours.make_run(
        lambda: torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)),
        optimizer,
        loader,
        lambda model: (model(x[200:]).argmax(-1) == y[200:]).float().mean(),
        **options,
    )


@pytest.mark.filterwarnings("ignore:suggest_l2")
def test_make_run_is_answered_with_what_it_knows():
    run = run_on_blobs(
        lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9), evaluate_every=5, classes=4
    )
    assert (run.learning_rate, run.momentum, run.classes) == (0.02, 0.9, 4)
    found = suggest_l2(run, 2000, progress=False)
    assert 0.1 < found.l2 * 0.2 * 2000 < 5


def test_all_groups_of_a_factory_are_trained():
    """One that goes through the parameters twice, and one that would refuse a made-up parameter."""
    made = []

    def two_groups(parameters):
        groups = [[p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim == 1]]
        made.append(torch.optim.SGD([{"params": group} for group in groups], lr=0.1))
        return made[-1]

    torch.manual_seed(0)
    before = torch.get_rng_state()
    run = run_on_blobs(two_groups, evaluate_every=1)
    assert torch.equal(torch.get_rng_state(), before)
    next(iter(run(0.1, 0)))
    assert [len(group["params"]) for group in made[-1].param_groups] == [2, 2]
    run_on_blobs(lambda parameters: torch.optim.SGD([p for p in parameters if p.ndim > 1], lr=0.1))


def test_make_run_is_reproducible_and_counts_in_units():
    run = run_on_blobs(
        lambda parameters: torch.optim.AdamW(parameters, lr=0.01), evaluate_every=2, steps_per_unit=4
    )
    assert run.momentum == 0
    first, again = (list(itertools.islice(run(0.1, 3), 5)) for _ in range(2))
    assert first == again
    assert [time for time, _ in first] == [0.5, 1.0, 1.5, 2.0, 2.5]


@pytest.mark.parametrize(
    ("name", "options", "decoupled"),
    [
        ("AdamW", {}, True),
        ("Adafactor", {}, True),
        ("Adam", {"decoupled_weight_decay": True}, True),
        ("SGD", {}, False),
    ],
)
def test_make_run_knows_whether_weight_decay_is_decoupled(name, options, decoupled):
    run = ours.make_run(
        lambda: torch.nn.Linear(10, 4),
        lambda parameters: getattr(torch.optim, name)(parameters, lr=1e-3, **options),
        [blobs()],
        lambda _: 0.5,
    )
    assert run.decoupled == decoupled


def test_adam_is_warned_of():
    with pytest.warns(UserWarning, match="Adam divides the L2 term by the size of the gradient"):
        run_on_blobs(lambda parameters: torch.optim.Adam(parameters, lr=0.01))


def test_no_batches_are_named():
    run = ours.make_run(
        lambda: torch.nn.Linear(1, 1),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        [],
        lambda _: 0.5,
    )
    with pytest.raises(ValueError, match=r"^batches gives none .any more.: pass a DataLoader"):
        next(iter(run(0.1, 0)))
