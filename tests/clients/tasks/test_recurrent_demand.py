"""The recurrent demand task: the same windows as the linear one, read whole, and a model that torch agrees with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from task_world import demand_spec, demand_table

from clients.tasks.demand import DemandTask
from clients.tasks.recurrent import RecurrentModel
from clients.tasks.recurrent_demand import CHANNELS, RecurrentDemandTask, daily_past
from clients.tasks.task import task_for

SPEC = demand_spec(model={"kind": "gru-quantile", "hidden": [5]})
TASK, LINEAR = RecurrentDemandTask(SPEC), DemandTask(demand_spec())
MODEL = TASK.architecture
assert isinstance(MODEL, RecurrentModel)


def test_the_spec_chooses_the_task() -> None:
    assert type(task_for(SPEC)) is RecurrentDemandTask
    assert type(task_for(demand_spec())) is DemandTask
    assert MODEL.inputs == 14 * CHANNELS + 7 * TASK.width
    assert MODEL.size == 3 * 5 * (CHANNELS + 5 + 2) + 3 * (5 + TASK.width + 1)


def test_windows_are_those_of_the_linear_task() -> None:
    table = demand_table()
    whole, days = TASK.examples(table), LINEAR.examples(table)
    assert (whole.units, whole.names.tolist()) == (days.units, days.names.tolist())  # type: ignore[union-attr]
    counted = ~np.isnan(whole.targets)
    np.testing.assert_array_equal(np.bincount(np.repeat(whole.unit, counted.sum(axis=1))), np.bincount(days.unit))
    columns = whole.inputs[:, 14 * CHANNELS :].reshape(len(whole.unit), 7, -1)
    np.testing.assert_array_equal(np.sort(columns[counted].sum(axis=1)), np.sort(days.inputs.sum(axis=1)))
    assert TASK.examples(demand_table(days=20)).units == 0


def test_the_past_is_read_on_public_scales_and_closed_days_have_no_ratio() -> None:
    windows, _, _ = next(TASK.training_windows(demand_table(stores=1)))
    past = daily_past(windows)
    assert past.shape == (len(windows.day), 14, CHANNELS)
    assert np.abs(past).max() <= 6.0
    assert not past[~windows.past_open][:, :2].any()
    np.testing.assert_array_equal(past[:, :, 4:].sum(axis=2), 1.0)


def test_a_model_that_was_not_trained_forecasts_like_the_linear_one() -> None:
    """Its head starts from zeros, as the linear model does."""
    held_out = demand_table(stores=2)
    recurrent = TASK.evaluate(MODEL.initial(1), held_out)
    assert recurrent == pytest.approx(LINEAR.evaluate(np.zeros(LINEAR.architecture.size), held_out))


def test_the_module_is_the_same_model() -> None:
    data = TASK.examples(demand_table(stores=1))
    parameters = np.random.default_rng(2).normal(size=MODEL.size)
    module = MODEL.module().double()
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), MODEL.tensors(parameters).values(), strict=True):
            assert parameter.shape == values.shape
            parameter.copy_(torch.from_numpy(values.copy()))
        outputs = module(torch.from_numpy(data.inputs)) + torch.from_numpy(data.offset)
        losses = MODEL.loss.torch(outputs, torch.from_numpy(data.targets)).numpy()
    found = MODEL.forward(parameters, data.inputs) + data.offset
    np.testing.assert_allclose(found, outputs.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(MODEL.loss.value(found, data.targets), losses, rtol=1e-7)


def test_the_slope_is_the_derivative_of_the_loss() -> None:
    data = TASK.examples(demand_table(stores=1))
    at = torch.from_numpy(data.offset.copy()).requires_grad_()
    MODEL.loss.torch(at, torch.from_numpy(data.targets)).sum().backward()  # type: ignore[no-untyped-call]
    assert at.grad is not None
    np.testing.assert_allclose(MODEL.loss.slope(data.offset, data.targets), at.grad.numpy(), rtol=1e-6, atol=1e-8)
