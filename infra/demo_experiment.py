"""The demo's experiment: a quarter of the households gets only what they have not bought yet. Read out when the log is over."""

from __future__ import annotations

from pathlib import Path

from infra import experiment_readout, experiments
from infra.settings import Settings
from infra.web.readout_page import page
from infra.whole_files import write_whole
from online_models.experiments.split import Split
from streams.contracts.experiments import Experiment
from streams.readout.result import Result, read_out

DEFINITION = """# May households be recommended what they have bought before?
name: repeats
metric: hr@20             # the purchases are recorded: they can tell which list named them, not what else would have been bought
clicks: [purchase]
attribution_s: 1209600    # two weeks: who buys groceries comes back after days
variants:
  - {name: as-usual, weight: 3}
  - {name: only-new, weight: 1, filters: {consumed: all}}
"""
TUNING = 1_500
"""Units at which the intervals are narrowest: about the households of the events that are played by default."""
PERIOD_S = 43_200
"""Of the interval over time: the log played by default lasts nine days."""


def begin(settings: Settings, folder: Path) -> Experiment:
    """Start it, as ``headrace experiment start`` does; the definition is left in ``folder``."""
    file = folder / "repeats.yaml"
    file.write_text(DEFINITION, "utf-8")
    experiment = experiments.begun(settings, experiments.read_definition(file), experiments.read(settings))
    experiments.write(settings, experiment)
    return experiment


def result_of(settings: Settings, experiment: Experiment, folder: Path) -> tuple[Result, Path]:
    """What the topics tell of it so far, and the page about it in ``folder``."""
    [(found, tally)] = experiment_readout.looks(settings, experiment, PERIOD_S, None, None)
    result = read_out(found, tally, TUNING)
    file = folder / f"{result.experiment}.html"
    write_whole(file, page(result).encode())
    return result, file


def parts(experiment: Experiment) -> str:
    """The variants with their shares of the households.

    >>> from streams.experiment_rules import alone
    >>> parts(alone(experiments.definition_of(DEFINITION, "the demo"), 0))
    'as-usual for 75% of the households, only-new for 25%'
    """
    shares = Split("", experiment.ranges).shares()
    first, *others = (f"{name} for {share:.0%}" for name, share in shares.items())
    return ", ".join((f"{first} of the households", *others))
