"""The back end of a CPU: the exported graph in OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.runtime.session import (
    OUTPUTS,
    Answer,
    Floats,
    ModelMissing,
    Precision,
    Session,
    check_shape,
)


class OpenVinoSession(Session):
    """A graph and its weights. Raises ModelMissing without openvino, or where it is no graph."""

    def __init__(
        self,
        card: dict[str, Any],
        graph: bytes,
        weights: bytes,
        threads: int,
        precision: Precision,
    ) -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise ModelMissing(
                f"a model in OpenVINO needs {error.name}: install it with "
                "`pip install .[worker-cpu]`, or choose engine torch"
            ) from error

        core = openvino.Core()
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            network = core.read_model(model=graph, weights=weights)
            shape = network.input("picture").get_partial_shape()
        except RuntimeError as error:
            raise ModelMissing(f"the graph of the model {card.get('name')} is none") from error
        # A graph made for one picture at a time is given one at a time.
        self._single = shape[0].is_static
        named = {name for output in network.outputs for name in output.get_names()}
        self._outputs = [name for name in OUTPUTS if name in named]
        self._request = core.compile_model(network, "CPU", settings).create_infer_request()
        super().__init__(card, f"cpu openvino {precision}", shape[2].get_length())

    def answer(self, inputs: Floats) -> Answer:
        check_shape(inputs, self.size)
        step = 1 if self._single else len(inputs)
        found: dict[str, list[Floats]] = {name: [] for name in self._outputs}
        for start in range(0, len(inputs), step):
            self._request.infer({"picture": inputs[start : start + step]})
            for name, parts in found.items():
                # Copies: the request writes its next answer over these.
                parts.append(self._request.get_tensor(name).data.copy())
        whole = {name: np.concatenate(parts) for name, parts in found.items()}
        return Answer.of_outputs([whole.get(name) for name in OUTPUTS])
