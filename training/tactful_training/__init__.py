"""Training for tactful: data, model, calibration, evaluation, export (extra ``train``)."""
