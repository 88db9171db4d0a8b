"""AutoL2 and auto_l2 against a transcription of Algorithm 1, and in the ways people use them."""

import subprocess
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from l2dynamics import AutoL2, auto_l2, current_l2, mean_measurements
from l2dynamics.autol2 import AutoL2State

RULES = [
    AutoL2(),
    AutoL2(every=5),
    AutoL2(init_l2=0.01, every=1, refractory=0.0),
    AutoL2(init_l2=0.5, decay=0.5, every=3, refractory=1.0),
    AutoL2(init_l2=0.02, decay=0.3, every=7, refractory=0.4),
]


def algorithm_1(losses, errors, *, k, init_l2, decay, refractory):
    """Algorithm 1 as printed, in exact arithmetic; losses[t] and errors[t] are the values after update t = 1,
    2, …

    Returns the number of decays after each measurement. The only departure is the erratum `error` ->
    `minerror`.
    """
    infinity = float("inf")
    minloss, minerror = infinity, infinity
    min_step, l2 = Fraction(0), Fraction(str(init_l2))
    loss, error = {0: infinity}, {0: infinity}  # nothing is measured at t = 0
    decays, record = 0, []

    def error_or_loss_increases(t):
        if loss[t] > minloss and loss[t - k] > minloss:
            return True
        return bool(error[t] > minerror and error[t - k] > minerror)

    for t in range(1, len(losses)):
        if t % k == 0:
            loss[t], error[t] = losses[t], errors[t]
            if error_or_loss_increases(t) and t > min_step:
                l2 = l2 * Fraction(str(decay))
                min_step = Fraction(str(refractory)) / l2 + t
                decays += 1
            else:
                minloss, minerror = min(loss[t - k], minloss), min(error[t - k], minerror)
            record.append(decays)
    return record


def random_curves(rng, runs, steps):
    """Losses and errors of many kinds: falling, rising, noisy, and coarse ones that tie all the time."""
    time = np.linspace(0, 1, steps)
    slope = rng.uniform(-2, 1.5, (runs, 1))
    noise = 10 ** rng.uniform(-3, 0, (runs, 1))
    dip = rng.uniform(0, 1, (runs, 1))
    curves = 3 + slope * time + 4 * (time - dip) ** 2 + noise * rng.standard_normal((runs, steps))
    coarse = rng.random((runs, 1)) < 0.4
    return np.where(coarse, np.round(curves * 3) / 3, curves).astype(np.float32)


def expected_l2(rule, losses, errors):
    decays = [
        algorithm_1(
            loss, error, k=rule.every, init_l2=rule.init_l2, decay=rule.decay, refractory=rule.refractory
        )
        for loss, error in zip(losses.tolist(), errors.tolist(), strict=True)
    ]
    # (with 40 decays and more λ leaves the range of float32, which atol below allows for)
    return np.array(decays), rule.init_l2 * rule.decay ** np.array(decays, dtype=float)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_both_forms_equal_algorithm_1_on_random_sequences(rule):
    rng = np.random.default_rng(20200615)
    runs, measurements = 1000, 60
    steps = measurements * rule.every + 1
    losses, errors = random_curves(rng, runs, steps), random_curves(rng, runs, steps)
    decays, expected = expected_l2(rule, losses, errors)
    assert len(np.unique(decays)) >= 3  # the sequences do exercise the rule

    def by_rule(loss, error):
        def measure(state, t):
            state = rule.update(state, t, loss[t], error[t])
            return state, state.l2

        return jax.lax.scan(measure, rule.init(), jnp.arange(rule.every, steps, rule.every))[1]

    np.testing.assert_allclose(jax.jit(jax.vmap(by_rule))(losses, errors), expected, rtol=1e-5, atol=2e-38)

    tx = auto_l2(rule.init_l2, rule.decay, rule.every, rule.refractory)
    theta = jnp.float32(2.0)

    def by_transformation(loss, error):
        def train(state, t):
            update, state = tx.update(jnp.float32(0.0), state, theta, loss=loss[t], error=error[t])
            return state, (update / theta, current_l2(state))

        return jax.lax.scan(train, tx.init(theta), jnp.arange(steps))[1]

    applied, reported = jax.jit(jax.vmap(by_transformation))(losses, errors)
    np.testing.assert_array_equal(applied, reported)
    np.testing.assert_allclose(reported[:, rule.every :: rule.every], expected, rtol=1e-5, atol=2e-38)
    assert (reported[:, : rule.every] == jnp.float32(rule.init_l2)).all()
    # Between measurements the coefficient stays.
    blocks = np.asarray(reported[:, :-1]).reshape(runs, measurements, rule.every)
    assert (blocks == blocks[..., :1]).all()


RISING = np.arange(1.0, 41.0, dtype=np.float32)


def train(tx, losses, params=2.0, jit=jax.jit):
    """The coefficient in force at every step of a training with these losses and no gradient."""

    @jit
    def step(state, loss):
        _, state = tx.update(jax.tree.map(jnp.zeros_like, params), state, params, loss=loss, error=0.5)
        return state, current_l2(state)

    params = jax.tree.map(jnp.asarray, params)
    state, record = tx.init(params), []
    for loss in losses:
        state, l2 = step(state, loss)
        record.append(np.asarray(l2).tolist())
    return record


def by_algorithm_1(losses, every=10, init_l2=0.1, decay=0.1, refractory=0.1):
    """The same by Algorithm 1, which has no measurement at step 0."""
    losses = [float(loss) for loss in losses]
    after = algorithm_1(
        losses, [0.5] * len(losses), k=every, init_l2=init_l2, decay=decay, refractory=refractory
    )
    decays = np.repeat([0, *after], every)[: len(losses)]
    return init_l2 * decay ** decays.astype(float)


def run(rule, losses, errors=None, first=1):
    state, record = rule.init(), []
    for i, loss in enumerate(losses):
        error = 0.5 if errors is None else errors[i]
        state = rule.update(state, (first + i) * rule.every, loss, error)
        record.append(round(float(state.l2), 8))
    return record


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([3, 2, 1, 0.5], [0.1, 0.1, 0.1, 0.1]),
        ([3, 2, 4, 1], [0.1, 0.1, 0.1, 0.1]),  # one measurement above the minimum is a fluctuation
        ([3, 2, 4, 4], [0.1, 0.1, 0.1, 0.01]),
        ([2, 3, 3, 2], [0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_two_measurements_in_a_row_are_needed(losses, expected):
    assert run(AutoL2(), losses) == expected


def test_loss_and_error_do_not_add_up_to_two_measurements_in_a_row():
    assert run(AutoL2(), [1, 1, 5, 1], errors=[0.5, 0.5, 0.5, 0.9]) == [0.1] * 4
    assert run(AutoL2(), [1, 1, 1, 1], errors=[0.5, 0.5, 0.9, 0.9]) == [0.1] * 3 + [0.01]


def test_refractory_period_ends_after_its_last_step():
    # The decay at step 30 gives min_step = 30 + 0.1 / 0.01 = 40, and `t > min_step` first holds at step 50.
    assert run(AutoL2(), [1, 2, 2, 2, 2]) == [0.1, 0.1, 0.01, 0.01, 0.001]
    assert run(AutoL2(refractory=0.0), [1, 2, 2, 2, 2]) == [0.1, 0.1, 0.01, 0.001, 0.0001]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_measurement_counts_as_an_increase(bad):
    assert run(AutoL2(), [1, bad, bad]) == [0.1, 0.1, 0.01]
    assert run(AutoL2(), [bad, bad]) == [0.1, 0.01]
    assert run(AutoL2(), [1, 1, bad, 1, bad, 1]) == [0.1] * 6
    assert run(AutoL2(), [1, 1, 1], errors=[0.5, bad, bad]) == [0.1, 0.1, 0.01]


def test_long_pause_saturates_instead_of_overflowing():
    rule = AutoL2(init_l2=1e-9, refractory=1.0)
    state = rule.init()
    for step in (10, 20, 30):
        state = rule.update(state, step, float(step), 0.5)
    assert state.l2 == jnp.float32(1e-10)
    assert state.min_step == 2**31 - 1


def test_rule_is_static_under_jit_and_batches():
    rule = AutoL2(init_l2=0.2)
    assert jax.tree.leaves(rule) == []
    state = jax.jit(lambda r: r.init())(rule)
    assert state.l2 == jnp.float32(0.2)
    # A batch of runs with different starting values, without vmap.
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)._replace(l2=jnp.array([0.2, 0.4]))
    for step, loss in ((10, [1, 1]), (20, [2, 0]), (30, [2, 0])):
        batch = rule.update(batch, step, jnp.array(loss, jnp.float32), jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(batch.l2, [0.02, 0.4], rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("init_l2", v) for v in (0, -0.1, float("nan"), float("inf"), "0.1", None, np.ones(2))],
        *[("decay", v) for v in (0, 1, 1.5, float("nan"), jnp.float32(2.0))],
        *[("every", v) for v in (0, 2.5, True, 10.0, np.float64(10), np.int64(0), "10", np.arange(2))],
        *[("refractory", v) for v in (-1, float("nan"))],
        *[("smoothing", v) for v in (-0.1, 1, float("nan"))],
    ],
)
@pytest.mark.parametrize("make", [AutoL2, auto_l2])
def test_bad_field_is_named(make, field, value):
    with pytest.raises(ValueError, match=f"^{field} is .*such as|^{field} is .*at least"):
        make(**{field: value})


@pytest.mark.parametrize("whole", [np.int64, np.uint8, np.array, jnp.int32], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("real", [np.float64, np.float32, np.array, jnp.float32, Fraction])
def test_numpy_and_jax_scalars_are_numbers(whole, real):
    """0.25 and 0.5 are the same number in every precision."""
    rule = AutoL2(init_l2=real(0.25), decay=real(0.5), every=whole(3), refractory=real(0.25))
    plain = AutoL2(init_l2=0.25, decay=0.5, every=3, refractory=0.25)
    assert (rule, hash(rule), repr(rule)) == (plain, hash(plain), repr(plain))
    assert train(auto_l2(real(0.25), real(0.5), whole(3), real(0.25)), RISING) == train(
        auto_l2(0.25, 0.5, 3, 0.25), RISING
    )


def quadratic(params):
    return 0.5 * sum(jnp.sum((leaf - 1.0) ** 2) for leaf in jax.tree.leaves(params))


def test_added_gradient_goes_through_momentum():
    """The trajectory equals heavy-ball SGD on L + λ/2 ‖θ‖² written out by hand, with AutoL2 as the rule."""
    rule, rate, momentum = AutoL2(init_l2=0.3, every=2), 0.4, 0.9
    tx = optax.chain(auto_l2(0.3, every=2), optax.sgd(rate, momentum=momentum))
    params = {"a": jnp.array([3.0, -2.0]), "b": jnp.float32(0.5)}
    state = tx.init(params)

    theta, velocity = jax.tree.map(np.asarray, params), jax.tree.map(np.zeros_like, params)
    auto, seen = rule.init(), set()
    for step in range(40):
        loss, grads = jax.value_and_grad(quadratic)(params)
        if step and step % 2 == 0:
            auto = rule.update(auto, step, loss, loss)
        updates, state = tx.update(grads, state, params, loss=loss, error=loss)
        params = optax.apply_updates(params, updates)
        l2 = float(auto.l2)
        seen.add(l2)
        assert current_l2(state) == auto.l2
        velocity = jax.tree.map(lambda v, p: momentum * v + (p - 1.0) + l2 * p, velocity, theta)  # noqa: B023
        theta = jax.tree.map(lambda p, v: p - rate * v, theta, velocity)
        jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=2e-5), params, theta)
    assert len(seen) >= 3


def test_gradient_equals_that_of_the_penalised_loss():
    tx = auto_l2(0.07)
    params = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.array([1.0, -4.0])}
    grads = jax.grad(quadratic)(params)
    updates, _ = tx.update(grads, tx.init(params), params, loss=1.0, error=1.0)
    penalised = jax.grad(
        lambda p: quadratic(p) + 0.07 / 2 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))
    )(params)
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-6), updates, penalised)


@pytest.mark.parametrize(
    "mask",
    [
        {"layer": {"kernel": True, "bias": False}, "norm": {"scale": False}},
        {"layer": {"kernel": True, "bias": False}, "norm": False},  # a prefix
        lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
    ],
    ids=["tree", "prefix", "function"],
)
def test_mask_chooses_the_parameters(mask):
    params = {"layer": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}}
    tx = optax.chain(auto_l2(0.5, mask=mask), optax.sgd(1.0))
    updates, state = tx.update(optax.tree.zeros_like(params), tx.init(params), params, loss=1.0, error=1.0)
    np.testing.assert_allclose(updates["layer"]["kernel"], -0.5)
    assert not updates["layer"]["bias"].any()
    assert not updates["norm"]["scale"].any()
    assert current_l2(state) == 0.5


def test_dtypes_and_missing_gradients_are_kept():
    params = {"half": jnp.full(2, 3.0, jnp.bfloat16), "frozen": jnp.ones(2), "complex": jnp.full(1, 1j)}
    grads = {"half": jnp.full(2, 1.0, jnp.bfloat16), "frozen": None, "complex": jnp.zeros(1, jnp.complex64)}
    tx = auto_l2(0.5)
    updates, _ = tx.update(grads, tx.init(params), params, loss=1.0, error=1.0)
    assert updates["frozen"] is None
    assert updates["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(updates["half"].astype(jnp.float32), 2.5)
    np.testing.assert_array_equal(updates["complex"], [0.5j])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"params": None, "loss": 1.0, "error": 1.0}, "needs the parameters"),
        ({"error": 1.0}, "loss is missing: pass one scalar"),
        ({"loss": 1.0}, "error is missing: pass one scalar"),
        ({"loss": np.ones(3), "error": 1.0}, r"loss is of shape \(3,\)"),
    ],
)
def test_missing_argument_is_named(kwargs, message):
    tx, params = auto_l2(), jnp.ones(2)
    with pytest.raises(ValueError, match=message):
        tx.update(params, tx.init(params), **({"params": params} | kwargs))


def make_step(tx):
    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(quadratic)(params)
        updates, state = tx.update(grads, state, params, loss=loss, error=loss)
        return optax.apply_updates(params, updates), state

    return step


def test_state_survives_a_checkpoint_bit_for_bit(tmp_path):
    tx = optax.chain(auto_l2(0.3, every=2), optax.sgd(0.4, momentum=0.9))
    step = make_step(tx)
    params = {"w": jnp.array([3.0, -2.0])}
    state = tx.init(params)
    for _ in range(13):
        params, state = step(params, state)
    leaves, treedef = jax.tree.flatten((params, state))
    np.savez(tmp_path / "checkpoint.npz", *leaves)
    for _ in range(20):
        params, state = step(params, state)

    with np.load(tmp_path / "checkpoint.npz") as stored:
        resumed = jax.tree.unflatten(treedef, [jnp.asarray(stored[name]) for name in stored.files])
    for _ in range(20):
        resumed = step(*resumed)
    jax.tree.map(np.testing.assert_array_equal, resumed, (params, state))
    assert step._cache_size() == 1  # the restored state does not recompile


def test_state_survives_orbax(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    tx = optax.chain(auto_l2(0.3, every=1), optax.sgd(0.4))
    params = {"w": jnp.array([3.0, -2.0])}
    params, state = make_step(tx)(params, tx.init(params))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert isinstance(restored[0].auto, AutoL2State)


def test_flax_nnx_optimizer():
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.chain(auto_l2(0.5), optax.sgd(1.0)), wrt=nnx.Param)
    kernel = np.asarray(model.kernel[...])

    @nnx.jit
    def train_step(model, optimizer):
        loss, grads = nnx.value_and_grad(lambda m: 0.0 * jnp.sum(m(jnp.ones((1, 3)))))(model)
        optimizer.update(model, grads, loss=loss, error=loss)

    train_step(model, optimizer)
    np.testing.assert_allclose(model.kernel[...], 0.5 * kernel, rtol=1e-6)
    assert float(current_l2(optimizer.opt_state)) == 0.5


def test_flax_linen_parameters():
    linen = pytest.importorskip("flax.linen")
    model = linen.Dense(2)
    variables = model.init(jax.random.key(0), jnp.ones((1, 3)))
    tx = optax.chain(auto_l2(0.5), optax.sgd(1.0))
    updates, _ = tx.update(
        optax.tree.zeros_like(variables), tx.init(variables), variables, loss=1.0, error=1.0
    )
    after = optax.apply_updates(variables, updates)
    np.testing.assert_allclose(after["params"]["kernel"], 0.5 * variables["params"]["kernel"], rtol=1e-6)


@pytest.fixture
def standard_promotion():
    """Optax's own MultiSteps and Adam mix dtypes, which the other tests forbid."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def partition(*transformations):
    labelled = {str(i): tx for i, tx in enumerate(transformations)}
    return optax.partition(labelled, {"l2": "0", "head": str(len(transformations) - 1)})


RISE = {"init_l2": 0.3, "every": 2, "refractory": 0.05}
CONTAINERS = {
    "alone": lambda tx: tx,
    "chain": lambda tx: optax.chain(optax.clip(1.0), tx, optax.sgd(0.1, momentum=0.9)),
    "chain of chains": lambda tx: optax.chain(
        optax.chain(optax.identity(), optax.chain(tx)), optax.adam(0.1)
    ),
    "named_chain": lambda tx: optax.named_chain(("l2", tx), ("sgd", optax.sgd(0.1))),
    "masked": lambda tx: optax.masked(tx, {"l2": True, "head": False}),
    "partition": lambda tx: partition(optax.chain(tx, optax.sgd(0.1)), optax.sgd(0.2)),
    "inject_hyperparams": lambda tx: optax.chain(tx, optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)),
    "inject_hyperparams of it": lambda tx: optax.inject_hyperparams(auto_l2)(**RISE),
    "MultiSteps": lambda tx: optax.MultiSteps(optax.chain(tx, optax.sgd(0.1)), 1),
    "mean_measurements": lambda tx: mean_measurements(optax.MultiSteps(optax.chain(tx, optax.sgd(0.1)), 1)),
    "apply_if_finite": lambda tx: optax.apply_if_finite(optax.chain(tx, optax.sgd(0.1)), 3),
    "flatten": lambda tx: optax.flatten(tx),
}


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("name", CONTAINERS)
def test_current_l2_is_found_in_every_container(name):
    """Also where a layer is called l2, traced, and batched."""
    tx = CONTAINERS[name](auto_l2(**RISE))
    params = {"l2": {"kernel": jnp.ones(2), "bias": jnp.float32(1.0)}, "head": jnp.ones(3)}
    expected = by_algorithm_1(RISING, **RISE)
    assert len(np.unique(expected)) >= 3
    np.testing.assert_allclose(train(tx, RISING, params), expected, rtol=1e-5)

    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    assert current_l2(jax.vmap(tx.init)(batch)).tolist() == [np.float32(0.3)] * 2


@pytest.mark.parametrize(
    ("make", "index", "expected"),
    [
        (lambda: optax.chain(auto_l2(0.3), auto_l2(0.2)), 0, 0.3),
        (lambda: optax.chain(auto_l2(0.3), auto_l2(0.2)), np.int64(1), 0.2),
        (lambda: partition(auto_l2(0.2), auto_l2(0.3)), 1, 0.3),
        (lambda: optax.chain(auto_l2(0.3), auto_l2(0.2)), None, "holds 2 states of auto_l2: .*index=0"),
        (lambda: optax.chain(auto_l2(0.3), auto_l2(0.2)), 2, "index is 2: opt_state holds 2"),
        (lambda: auto_l2(0.3), -1, "index is -1: it must be a whole number"),
        (lambda: auto_l2(0.3), "head", "index is 'head': it must be a whole number"),
        (lambda: optax.adam(0.1), None, "opt_state holds no state of auto_l2: pass what tx.init"),
    ],
)
def test_current_l2_of_several(make, index, expected):
    state = make().init({"l2": jnp.ones(2), "head": jnp.ones(2)})
    if isinstance(expected, float):
        assert current_l2(state, index) == np.float32(expected)
    else:
        with pytest.raises(ValueError, match=expected) as caught:
            current_l2(state, index)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("jit", [jax.jit, lambda step: step], ids=["traced", "concrete"])
@pytest.mark.parametrize(
    ("hyperparameters", "expected"),
    [
        ({}, by_algorithm_1(RISING)),
        ({"every": 3, "decay": 0.5, "refractory": 0.2}, by_algorithm_1(RISING, 3, 0.1, 0.5, 0.2)),
        ({"every": np.int64(3), "init_l2": jnp.float32(0.3)}, by_algorithm_1(RISING, 3, 0.3)),
        ({"every": lambda step: 2 + 0 * step, "init_l2": 0.3}, by_algorithm_1(RISING, 2, 0.3)),
    ],
)
def test_inject_hyperparams(hyperparameters, expected, jit):
    tx = optax.inject_hyperparams(auto_l2)(**hyperparameters)
    np.testing.assert_allclose(train(tx, RISING, jit=jit), expected, rtol=1e-5)


def test_injected_hyperparameters_of_half_precision_parameters_keep_theirs():
    params, expected = jnp.ones(2, jnp.bfloat16), by_algorithm_1(RISING, 1)
    tx = optax.inject_hyperparams(auto_l2, hyperparam_dtype=jnp.float32)(every=1)
    np.testing.assert_allclose(train(tx, RISING, params), expected, rtol=1e-5)


def test_injected_hyperparameters_change_and_the_mask_is_static():
    def mask(params):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    tx = optax.inject_hyperparams(auto_l2, static_args="mask")(every=1, refractory=0.0, mask=mask)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    state = tx.init(params)
    state.hyperparams["decay"] = jnp.float32(0.5)
    for loss in (1, 1, 2, 2):
        updates, state = tx.update(optax.tree.zeros_like(params), state, params, loss=loss, error=0.5)
    assert current_l2(state) == np.float32(0.05)
    np.testing.assert_array_equal(updates["kernel"], np.full((2, 2), np.float32(0.05)))
    assert not updates["bias"].any()


def test_hyperparameters_can_be_batched():
    starts = jnp.array([0.4, 0.2])
    state = jax.vmap(lambda l2: auto_l2(l2).init(jnp.ones(2)))(starts)
    np.testing.assert_array_equal(current_l2(state), starts)


COUNT = jnp.arange(3)


@pytest.mark.parametrize(
    ("parameter", "gradient"),
    [
        (COUNT, jnp.full(3, 7)),
        (COUNT, None),
        (COUNT, jax.grad(lambda n: 1.0, allow_int=True)(COUNT)),  # dtype float0
        (COUNT, jnp.full(3, 7.0)),
        (jnp.array([True, False]), jnp.array([True, True])),
        (jax.random.key(0), jnp.zeros(())),
        (7, 0),
    ],
    ids=["int", "None", "float0", "float", "bool", "random key", "Python int"],
)
@pytest.mark.parametrize("mask", [None, {"w": True, "other": True}])
def test_what_is_no_weight_passes_through(parameter, gradient, mask):
    params = {"w": jnp.array([2.0, -4.0]), "other": parameter}
    grads = {"w": jnp.array([1.0, 1.0]), "other": gradient}
    tx = auto_l2(0.5, mask=mask)
    updates, _ = tx.update(grads, tx.init(params), params, loss=1.0, error=1.0)
    np.testing.assert_array_equal(updates["w"], [2.0, -1.0])
    assert updates["other"] is gradient


@pytest.mark.parametrize(
    ("parameter", "gradient"),
    [(2.0, 1.0), (np.float64(2.0), np.float64(1.0)), (jnp.float32(2.0), np.int32(1))],
)
def test_scalars_of_any_kind_are_weights(parameter, gradient):
    tx = auto_l2(0.25)
    updates, _ = tx.update(gradient, tx.init(parameter), parameter, loss=1.0, error=1.0)
    assert updates == 1.5


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("sizes", [[4] * 30, [1] * 40, [1, 2, 3] * 15], ids=["4", "1", "1, 2, 3"])
def test_accumulated_gradients(sizes):
    """``MultiSteps`` measures on the last microbatch of a group; with ``mean_measurements`` on the group."""
    rng = np.random.default_rng(7)
    groups = [2 + i / len(sizes) + rng.standard_normal(size) for i, size in enumerate(sizes)]
    grads = [rng.standard_normal((size, 2)) for size in sizes]
    chain = optax.chain(auto_l2(every=2, refractory=0.02), optax.sgd(0.01, momentum=0.9))
    group_sizes = jnp.array([*sizes, 1])
    accumulated = optax.MultiSteps(chain, lambda step: group_sizes[step])

    def results(tx):
        update = jax.jit(tx.update)
        params = jnp.array([1.0, -2.0])
        state, record = tx.init(params), []
        for losses, gradients in zip(groups, grads, strict=True):
            for loss, gradient in zip(losses, gradients, strict=True):
                updates, state = update(jnp.float32(gradient), state, params, loss=loss, error=0.5)
                params = optax.apply_updates(params, updates)
            record.append(float(current_l2(state)))
        return np.array(record), np.asarray(params)

    last, means = [losses[-1] for losses in groups], [losses.mean() for losses in groups]
    np.testing.assert_allclose(results(accumulated)[0], by_algorithm_1(last, 2, refractory=0.02), rtol=1e-5)
    record, params = results(mean_measurements(accumulated))
    np.testing.assert_allclose(record, by_algorithm_1(means, 2, refractory=0.02), rtol=1e-5)
    assert len(np.unique(record)) >= 3

    groups, grads = [[mean] for mean in means], [group.mean(0, keepdims=True) for group in grads]
    by_batch, expected = results(chain)
    np.testing.assert_array_equal(record, by_batch)
    np.testing.assert_allclose(params, expected, rtol=1e-4)


@pytest.mark.usefixtures("standard_promotion")
def test_skipped_microbatches_are_not_measured():
    skipping = optax.MultiSteps(auto_l2(every=1), 2, should_skip_update_fn=optax.skip_not_finite)
    tx, params = mean_measurements(skipping), jnp.ones(2)
    state = tx.init(params)
    measured = [(3, 5), (4, 4), (2, 4), (1, 3), (2, 2)]
    for group in measured:
        for loss in group:
            bad = jnp.full(2, jnp.nan)
            _, state = tx.update(bad, state, params, loss=float("nan"), error=float("nan"))
            _, state = tx.update(params, state, params, loss=float(loss), error=0.5)
    inner = state.multi_steps.inner_opt_state
    assert (inner.step, inner.auto.measurements) == (5, 4)
    assert (inner.auto.previous_loss, inner.auto.min_loss) == (2.0, 2.0)
    assert current_l2(state) == np.float32(0.1)


def test_mean_measurements_needs_multi_steps_and_both_scalars():
    with pytest.raises(ValueError, match=r"needs optax.MultiSteps: mean_measurements\(optax.MultiSteps"):
        mean_measurements(optax.chain(auto_l2(), optax.sgd(0.1))).init(jnp.ones(2))
    tx, params = mean_measurements(optax.MultiSteps(auto_l2(), 2)), jnp.ones(2)
    with pytest.raises(ValueError, match="mean_measurements: error is missing: pass one scalar"):
        tx.update(params, tx.init(params), params, loss=1.0)


@pytest.mark.parametrize("refractory", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("error", [0.5, 1.0])
def test_debug_infs_and_nans_find_nothing(refractory, error):
    """Also after so many decays that λ is zero in float32."""
    losses = np.tile(np.arange(1.0, 61.0, dtype=np.float32), 2)
    with jax.debug_infs(True), jax.debug_nans(True):
        rule = AutoL2(every=1, decay=0.05, refractory=refractory)
        state, update = rule.init(), jax.jit(rule.update)
        record = []
        for step, loss in enumerate(losses[1:], start=1):
            state = update(state, step, loss, error)
            record.append(float(state.l2))
        found = train(auto_l2(every=1, decay=0.05, refractory=refractory), losses)
    expected = by_algorithm_1(losses, 1, decay=0.05, refractory=refractory)
    np.testing.assert_allclose([0.1, *record], expected, rtol=1e-4, atol=2e-38)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-38)
    assert (state.l2 == 0) == (refractory == 0)


def adamw_by_auto_l2(l2):
    return optax.chain(optax.scale_by_adam(), auto_l2(l2), optax.scale_by_learning_rate(0.1))


def train_a_quadratic(tx, steps):
    params = {"a": jnp.array([3.0, -2.0]), "b": jnp.float32(0.5)}
    tx = optax.with_extra_args_support(tx)
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(jax.grad(quadratic)(params), state, params, loss=1.0, error=1.0)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.usefixtures("standard_promotion")
def test_between_adam_and_the_learning_rate_it_is_the_decay_of_adamw():
    got = train_a_quadratic(adamw_by_auto_l2(0.3), 30)
    want = train_a_quadratic(optax.adamw(0.1, weight_decay=0.3), 30)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, want)


def test_behind_an_optimizer_the_sign_is_wrong():
    """As the docstring says: θ grows by λθ, here by 1.3 − 0.1 per step, whatever the loss."""
    theta = train_a_quadratic(optax.chain(optax.sgd(0.1), auto_l2(0.3)), 30)
    fixed_point, growth = -0.1 / 0.2, 1.2
    np.testing.assert_allclose(theta["b"], fixed_point + (0.5 - fixed_point) * growth**30, rtol=1e-4)


WITHOUT_JAX = """
import os, sys, warnings

warnings.simplefilter("error")
from l2dynamics import AutoL2, measure_c, predict_l2, suggest_l2

rule = AutoL2.for_training(0.1, momentum=0.9, steps=1000)
state = rule.update(rule.init(), 10, 1.0, 0.5)
assert {type(value) for value in state} == {float, int}, state
assert "jax" not in sys.modules
if os.fork() == 0:
    os._exit(0)
os.wait()
import jax

assert jax.tree.leaves(AutoL2()) == []
"""


def test_without_jax_the_rule_computes_with_numbers():
    """So that a PyTorch DataLoader may fork: a process that has imported JAX must not be forked."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JAX], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rule", [*RULES, AutoL2(smoothing=0.5, every=2)], ids=str)
def test_numbers_and_arrays_give_the_same(rule):
    losses = random_curves(np.random.default_rng(5), 20, 40)
    decays = 0
    for run_losses in losses:
        numbers, arrays = rule.init(), rule.init(jnp.float32(rule.init_l2))
        for n, loss in enumerate(run_losses.tolist(), start=1):
            numbers = rule.update(numbers, n * rule.every, loss, 0.5)
            arrays = rule.update(arrays, n * rule.every, loss, 0.5)
            assert float(arrays.l2) == pytest.approx(numbers.l2, rel=1e-5, abs=2e-38)
            assert int(arrays.min_step) == pytest.approx(numbers.min_step, rel=1e-5)
        decays += numbers.l2 < rule.init_l2
    assert decays > 3


def test_smoothing_is_a_running_mean():
    rule = AutoL2(smoothing=0.75)
    state = rule.init()
    for step, loss, mean in (
        (10, 4.0, 4.0),
        (20, 8.0, 5.0),
        (30, 1.0, 4.0),
        (40, float("nan"), None),
        (50, 2.0, 2.0),
    ):
        state = rule.update(state, step, loss, 0.5)
        if mean is not None:
            assert state.previous_loss == mean


def test_smoothing_keeps_noise_from_lowering_the_coefficient():
    rng = np.random.default_rng(1)
    losses = 3 * np.exp(-np.arange(200) / 60) + 0.3 * rng.standard_normal(200)
    plain, smooth = (run(AutoL2(smoothing=smoothing), losses.tolist()) for smoothing in (0.0, 0.9))
    first_decay = [next(n for n, l2 in enumerate(record) if l2 < 0.1) for record in (plain, smooth)]
    assert first_decay[1] > 2 * first_decay[0]


@pytest.mark.parametrize(("learning_rate", "momentum"), [(0.2, 0.9), (2.0, 0.0)])
def test_for_training_has_the_papers_pause_and_a_start_that_peaks_after_half_of_the_training(
    learning_rate, momentum
):
    """The paper's Wide ResNet: η = 0.2, momentum 0.9, pauses of 0.1/λ steps."""
    rule = AutoL2.for_training(learning_rate, momentum, steps=10_000)
    assert rule.refractory == pytest.approx(0.1)
    assert rule.init_l2 * 2 * 5000 == pytest.approx(1)
    assert (rule.every, AutoL2.for_training(0.1, 0, 300).every, AutoL2.for_training(0.1, 0, 10).every) == (
        10,
        3,
        1,
    )


@pytest.mark.parametrize("steps", [300, 10_000])
def test_for_training_has_time_for_one_decay(steps):
    rule = AutoL2.for_training(0.1, 0.9, steps)
    losses = np.linspace(1, 2, steps // rule.every)  # it rises all the time
    state = rule.init()
    for number, loss in enumerate(losses, start=1):
        state = rule.update(state, number * rule.every, loss, 0.5)
    assert state.l2 == pytest.approx(rule.init_l2 * rule.decay)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.9, 100), "^learning_rate is 0: "),
        ((0.1, 1.0, 100), "^momentum is 1.0: "),
        ((0.1, 0.9, 0), "^steps is 0: "),
        ((0.1, 0.9, 10.5), "^steps is 10.5: "),
    ],
)
def test_for_training_names_the_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoL2.for_training(*arguments)


def test_auto_l2_takes_a_rule():
    rule = AutoL2.for_training(0.1, 0.9, 400)
    assert train(auto_l2(rule=rule), RISING) == train(
        auto_l2(rule.init_l2, rule.decay, rule.every, rule.refractory, smoothing=rule.smoothing), RISING
    )


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec as P
from l2dynamics import auto_l2, current_l2

assert jax.device_count() == 8
mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
tx = optax.chain(auto_l2(0.3, every=2), optax.sgd(0.02, momentum=0.9))

@jax.jit
def step(params, state, x):
    def loss_fn(p):
        return jnp.mean((x @ p - y) ** 2)
    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, state = tx.update(grads, state, params, loss=loss, error=loss)
    return optax.apply_updates(params, updates), state, current_l2(state)

x_all = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
solution = np.arange(1.0, 9.0, dtype=np.float32)
y = x_all @ solution  # from the solution any L2 term makes the loss rise, so that AutoL2 decays

def train(params_sharding, data_sharding):
    x = jax.device_put(x_all, data_sharding)
    params = jax.device_put(solution, params_sharding)
    state, record = tx.init(params), []
    for _ in range(24):
        params, state, l2 = step(params, state, x)
        record.append(float(l2))
    return params, record

replicated, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
alone = train(jax.devices()[0], jax.devices()[0])
assert len(set(alone[1])) >= 3, alone[1]
for shardings in ((replicated, split), (split, replicated)):
    params, record = train(*shardings)
    assert record == alone[1], (shardings, record, alone[1])
    np.testing.assert_allclose(params, alone[0], rtol=1e-4)
assert params.sharding.is_equivalent_to(split, 1), params.sharding
"""


def test_sharded_over_eight_devices_equals_one(monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "8")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
