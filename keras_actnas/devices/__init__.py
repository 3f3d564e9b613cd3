"""Devices: what measures candidates of a network, on this machine, a board, or as a compiler estimates them."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Device": "keras_actnas.devices.device",
        "Reading": "keras_actnas.devices.device",
        "record": "keras_actnas.devices.recording",
    },
)
