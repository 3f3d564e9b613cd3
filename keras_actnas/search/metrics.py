"""The metrics that a search measures, with their units."""

from __future__ import annotations

LATENCY = "latency"
NWOT = "nwot"

UNITS = {LATENCY: "ms", NWOT: ""}
"""Metric -> unit; a score has none."""
