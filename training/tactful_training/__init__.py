"""Training for tactful: data, model, calibration, evaluation, export (extra ``train``)."""

import tactful  # noqa: F401 - what it tells onnxruntime holds here too, whoever imports it first
