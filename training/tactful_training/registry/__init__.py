"""MLflow: what is kept of a run, and which model is champion.

In come runs, figures and bundles; out go tracked runs, versions and promotions.
"""
