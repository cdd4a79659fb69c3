"""A model is a folder.

In comes an address: a folder, an archive, a model in MLflow or a repository of the hub. Where keys
are trusted, a signature is asked for; every byte is held against the manifest and the goldens are
reproduced; out goes a `Bundle` with a running engine, or a
`BundleError` that lists what is wrong. Bundles are written here too.
"""
