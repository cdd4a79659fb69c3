"""The HTTP service: `tactful serve` (extra ``server``).

The core (`batcher`, `service`, `failures`) knows no HTTP; `problems` maps what it raises to
problem documents in one table; `app` is the routes, `edge` and `protocol` what stands before them,
`lifecycle` and `workers` the processes.
"""
