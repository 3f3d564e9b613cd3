"""Which blocks to collapse and which kernels to enlarge, from what they cost on a device and from alpha."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError
from keras_actnas.core.table import Estimate
from keras_actnas.models.ran_e_blocks import Block
from keras_actnas.search.choice_program import ChoiceProgram
from keras_actnas.search.ran_e_costs import CostTable, as_option

KERNEL_GAIN = 0.05


@dataclasses.dataclass(frozen=True)
class BlockChoice:
    """A network that was chosen.

    Attributes:
      blocks: Its blocks, for `models.RANE`.
      predicted: Its cost, as the sum of what its changes cost one at a time. Measure the network to know.
      evidence_lost: What was minimised.
      status: "optimal" (proven), or "feasible".
    """

    blocks: tuple[Block, ...]
    predicted: Estimate
    evidence_lost: float
    status: str


def choose_blocks(
    table: CostTable,
    budget: float,
    kernel_gain: float = KERNEL_GAIN,
    solver: str = "highs",
    time_limit: float | None = None,
) -> BlockChoice:
    """Returns the network that keeps most of what alpha says is needed, at a cost of at most `budget`.

    The paper leaves it to future work to let the hardware decide (Bhardwaj et al. 2022, sections 2.4 and 2.5.4). Here
    an integer linear program chooses one option for each block. To collapse a block loses (alpha - 1)^2, its share of
    the search's loss (equation (3)): little where training itself made the block linear. A larger kernel wins back
    `kernel_gain` of the same number for each step of 2 (3x3 to 5x5 to 7x7): it goes to blocks that need to be
    non-linear, where it is cheap. How much a kernel is worth against a collapse is an assumption, not a measurement.

    Args:
      table: What each option costs, from `measure_costs`; its blocks have their alphas, from `ran_e.decide`.
      budget: Largest predicted cost, in the table's unit, such as `0.8 * table.base.value`.
      kernel_gain: Worth of a step in kernel size; 0 to leave kernels as they are.
      solver: "highs" or "cbc".
      time_limit: Seconds for the solver; None for no limit.

    Raises:
      InputError: A block has no alpha, the budget is below what any choice is predicted to cost, or nothing was found
        in time.
      MissingDependencyError: PuLP or the solver is not installed.
    """
    if not is_finite(budget) or not is_finite(kernel_gain) or kernel_gain < 0:
        raise InputError(f"Expected numbers, and a kernel_gain of 0 or more. Received: {budget!r}, {kernel_gain!r}.")
    usable = np.isfinite(table.delta)
    delta = np.where(usable, table.delta, 0.0)
    if budget < table.least:
        raise InputError(
            f"Expected a budget that some choice is predicted to keep: {table.least:.6g} is the least, "
            f"{table.base.value:.6g} what the network costs as it is. Received: {budget:.6g}."
        )
    lost = evidence_lost(table, kernel_gain)
    program = ChoiceProgram(usable, lost, solver)
    program.bound(delta, budget - table.base.value)
    answer = program.solve(time_limit)
    if not answer.columns:
        raise InputError(f"Expected a time_limit in which {solver} finds a choice. Received: {time_limit!r} seconds.")
    chosen = (np.arange(len(table.blocks)), np.array(answer.columns))
    blocks = table.blocks
    for row, column in enumerate(answer.columns):
        blocks = as_option(blocks, row, table.options[column])
    error = math.sqrt(table.base.standard_error**2 + float(np.sum(table.standard_error[chosen] ** 2)))
    predicted = Estimate(table.base.value + float(delta[chosen].sum()), error)
    return BlockChoice(blocks, predicted, float(lost[chosen].sum()), answer.outcome)


def evidence_lost(table: CostTable, kernel_gain: float = KERNEL_GAIN) -> np.ndarray:
    """Returns what `choose_blocks` minimises, shape (blocks, options)."""
    lost = np.zeros_like(table.delta)
    for row, block in enumerate(table.blocks):
        if block.alpha is None:
            raise InputError(f"Expected blocks with alpha, from `ran_e.decide`. Received: {block.name!r} without.")
        need = (block.alpha - 1) ** 2
        for column, option in enumerate(table.options):
            steps = 0 if option.collapsed else (option.kernel_size - block.kernel_size) / 2
            lost[row, column] = need if option.collapsed else -kernel_gain * steps * need
    return lost
