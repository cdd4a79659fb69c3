"""What a run is told.

In come YAML files and overrides; out goes a `Config` that was held against a strict schema. The
configs and data sets that the package ships are found here too.
"""
