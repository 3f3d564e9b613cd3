"""Results for people: text tables and heat maps."""

from keras_actnas.report.heatmap import save_heatmap
from keras_actnas.report.text import constraint_lines, proposals_table, verdict

__all__ = ["constraint_lines", "proposals_table", "save_heatmap", "verdict"]
