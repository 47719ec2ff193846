"""Which combination of settings a search tries next, and which settings mattered: optuna's answers.

In: what was tried and what it came to. Out: settings. A function of these and a seed alone, so a search that was
killed goes on as if it had not been.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ferdata.optional import needs
from ferdata.training.sweep.spec import Range, SweepSpec

__all__ = ["Tried", "importance", "next_settings"]

Tried = tuple[Mapping[str, Any], float | None]
"""Settings, and the value they came to: higher is better; None of a run that failed."""


def next_settings(spec: SweepSpec, tried: Sequence[Tried]) -> dict[str, Any]:
    """Return what to try after ``tried``: the tree-structured Parzen estimator's choice (Bergstra et al., 2011)."""
    optuna = _optuna()
    sampler = optuna.samplers.TPESampler(seed=len(tried))
    study = _study(optuna, spec, tried, sampler)
    trial = study.ask(_distributions(optuna, spec))
    return {name: _back(values, trial.params[name]) for name, values in spec.vary.items()}


def importance(spec: SweepSpec, tried: Sequence[Tried]) -> dict[str, float]:
    """Return how much of the spread each setting explains, sum 1, largest first (PED-ANOVA, Watanabe et al., 2023).

    Empty where there is too little to tell: fewer than four combinations, or no spread.
    """
    values = [value for _, value in tried if value is not None]
    if len(values) < 4 or max(values) == min(values) or len(spec.vary) < 2:
        return {}
    optuna = _optuna()
    study = _study(optuna, spec, tried, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return {name: float(share) for name, share in found.items()}


def _optuna() -> Any:
    with needs("sweep", "sweep"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(optuna: Any, spec: SweepSpec, tried: Sequence[Tried], sampler: Any) -> Any:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = _distributions(optuna, spec)
    for settings, value in tried:
        params = {name: _forth(values, settings[name]) for name, values in spec.vary.items()}
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value, state=state))
    return study


def _distributions(optuna: Any, spec: SweepSpec) -> dict[str, Any]:
    kinds = optuna.distributions
    found: dict[str, Any] = {}
    for name, values in spec.vary.items():
        if not isinstance(values, Range):
            found[name] = kinds.CategoricalDistribution(range(len(values)))  # optuna takes plain values only
        elif values.is_whole:
            found[name] = kinds.IntDistribution(int(values.low), int(values.high), log=values.is_log)
        else:
            found[name] = kinds.FloatDistribution(values.low, values.high, log=values.is_log)
    return found


def _forth(values: Any, value: Any) -> Any:
    return value if isinstance(values, Range) else values.index(value)


def _back(values: Any, found: Any) -> Any:
    return found if isinstance(values, Range) else values[found]
