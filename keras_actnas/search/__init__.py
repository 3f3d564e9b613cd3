"""Designs, scores, tables, solvers, and the search that puts them together."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DESIGNS": "keras_actnas.search.designs",
        "ILPResult": "keras_actnas.search.ilp",
        "InfeasibleError": "keras_actnas.search.ilp",
        "NWOTScorer": "keras_actnas.search.nwot",
        "Observation": "keras_actnas.search.tables",
        "RunFolder": "keras_actnas.search.run_folder",
        "Search": "keras_actnas.search.pipeline",
        "SearchResult": "keras_actnas.search.settings",
        "SearchSettings": "keras_actnas.search.settings",
        "fit_table": "keras_actnas.search.tables",
        "image_batch": "keras_actnas.search.images",
        "log_determinant": "keras_actnas.search.nwot",
        "make_design": "keras_actnas.search.designs",
        "make_scorer": "keras_actnas.search.pipeline",
        "mixtures": "keras_actnas.search.designs",
        "single_swaps": "keras_actnas.search.designs",
        "solve_ilp": "keras_actnas.search.ilp",
    },
)
