"""The process that compiles candidates with Vela: one that makes Vela crash or hang takes no other with it.

`python -m keras_actnas.devices.vela_worker SYSTEM`, with the fields of a `VelaSystem` as JSON, reads a request a line
from its standard input and answers each with a line: {"network": path of an int8 .tflite} with the fields of an
`EthosUEstimate`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_actnas.devices.ethos_u import compile_network
from keras_actnas.devices.vela_system import VelaSystem, import_vela
from keras_actnas.tflite_bench.worker import serve


def compiler(system: VelaSystem) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns what answers requests to compile for one system."""
    import_vela()

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        # The file has no name that would say anything in a message.
        return dataclasses.asdict(compile_network(Path(request["network"]), system, "the network"))

    return answer


if __name__ == "__main__":
    serve(lambda: compiler(VelaSystem(**json.loads(sys.argv[1]))))
