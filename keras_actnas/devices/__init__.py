"""Devices: what measures candidates of a network, on this machine, a board, or as a compiler estimates them."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Device": "keras_actnas.devices.device",
        "EthosUEstimate": "keras_actnas.devices.ethos_u",
        "GivenTables": "keras_actnas.devices.given_tables",
        "HostDevice": "keras_actnas.devices.host",
        "Network": "keras_actnas.devices.device",
        "ONNXRuntimeDevice": "keras_actnas.devices.onnx_runtime",
        "Plan": "keras_actnas.devices.plan",
        "Reading": "keras_actnas.devices.device",
        "RecordedDevice": "keras_actnas.devices.recorded",
        "Request": "keras_actnas.devices.device",
        "SSHDevice": "keras_actnas.devices.ssh",
        "VelaDevice": "keras_actnas.devices.vela",
        "estimate_ethos_u": "keras_actnas.devices.ethos_u",
        "open_device": "keras_actnas.devices.specs",
        "record": "keras_actnas.devices.recording",
        "write_bundle": "keras_actnas.devices.bundle",
    },
)
