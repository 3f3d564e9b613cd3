"""Results for people: text tables, heat maps, reports, comparisons of runs."""

from keras_actnas.report.comparison import compare_runs
from keras_actnas.report.heatmap import save_heatmap
from keras_actnas.report.page import report_page, save_report
from keras_actnas.report.run import Run
from keras_actnas.report.text import constraint_lines, proposals_table, verdict

__all__ = [
    "Run",
    "compare_runs",
    "constraint_lines",
    "proposals_table",
    "report_page",
    "save_heatmap",
    "save_report",
    "verdict",
]
