"""Every solver: from metric tables, or a measurement, to proposals (ActNAS section 3.3).

| solver | finds | proven |
|---|---|---|
| `solve_ilp` | the best assignments under constraints and rules, with a confidence if asked for | yes |
| `solve_pareto` | what no assignment beats in all of two or three metrics | yes |
| `solve_random` | the best of many draws: the paper's loop | no |
| `solve_lzcm`, `solve_naive` | the paper's two other networks | no |
| `solve_local` | the best that measuring itself leads to, where that is cheap | no |
"""

from keras_actnas.search.heuristics import solve_lzcm, solve_naive
from keras_actnas.search.ilp import ILPResult, InfeasibleError, solve_ilp
from keras_actnas.search.local_search import solve_local
from keras_actnas.search.objective import Objective
from keras_actnas.search.pareto import solve_pareto
from keras_actnas.search.random_search import solve_random
from keras_actnas.search.rules import Rules

__all__ = [
    "ILPResult",
    "InfeasibleError",
    "Objective",
    "Rules",
    "solve_ilp",
    "solve_local",
    "solve_lzcm",
    "solve_naive",
    "solve_pareto",
    "solve_random",
]
