"""Proxies: what can be said of a network's accuracy without training it, one score a network.

`PROXIES` lists those that there are; `make_proxy` makes one by name, or one of your own by module:function.
"""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FineTuned": "keras_actnas.search.proxies.fine_tuned",
        "GradientNorm": "keras_actnas.search.proxies.gradients",
        "JacobianCovariance": "keras_actnas.search.proxies.gradients",
        "NetworkProxy": "keras_actnas.search.proxies.network_proxy",
        "OneShot": "keras_actnas.search.proxies.one_shot",
        "PROXIES": "keras_actnas.search.proxies.registry",
        "Proxy": "keras_actnas.search.proxies.registry",
        "ProxyKind": "keras_actnas.search.proxies.registry",
        "Recipe": "keras_actnas.search.proxies.labelled",
        "ScoringCluster": "keras_actnas.search.proxies.cluster",
        "ScoringProcesses": "keras_actnas.search.proxies.processes",
        "Sensitivity": "keras_actnas.search.proxies.sensitivity",
        "SynFlow": "keras_actnas.search.proxies.synflow",
        "Task": "keras_actnas.search.proxies.tasks",
        "make_proxy": "keras_actnas.search.proxies.registry",
        "proxies_on": "keras_actnas.search.proxies.registry",
        "proxy_kind": "keras_actnas.search.proxies.registry",
    },
)
