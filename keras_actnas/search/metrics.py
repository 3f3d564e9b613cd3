"""The names of the metrics that a search is usually about."""

from __future__ import annotations

LATENCY = "latency"
"""Time of one inference. Its unit, and what else there is, is the device's matter: see `devices.Device.metrics`."""

NWOT = "nwot"
"""The score of a network without training (Mellor et al. 2021), which has no unit."""
