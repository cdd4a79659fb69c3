"""The HTTP service: `tactful serve` (extra ``server``); requests come in, readings go out.

`fair_queue` and `live_bundle` know no HTTP; `problem_documents` maps what they refuse in one table.
`routes` are the addresses, `connections` what stands before them, `lifecycle` the process or
processes around all.
"""
