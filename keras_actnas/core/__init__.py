"""The vocabulary: sites, assignments, journals, metric tables, proposals. Standard library and NumPy only."""

from keras_actnas.core.activations import (
    CANDIDATES,
    KNOWN,
    LEAKY_RELU_SLOPE,
    canonical_name,
    leaky_slope,
    parse_activations,
)
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError, MissingDependencyError, closest
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.proposal import Proposal, load_proposals, save_proposals
from keras_actnas.core.sites import Site, layer_name, site_name
from keras_actnas.core.table import Estimate, MetricTable

__all__ = [
    "CANDIDATES",
    "KNOWN",
    "LEAKY_RELU_SLOPE",
    "Assignment",
    "Constraint",
    "Estimate",
    "InputError",
    "Journal",
    "Measurement",
    "MetricTable",
    "MissingDependencyError",
    "Proposal",
    "Site",
    "canonical_name",
    "closest",
    "layer_name",
    "leaky_slope",
    "load_proposals",
    "parse_activations",
    "save_proposals",
    "site_name",
]
