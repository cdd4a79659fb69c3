"""Yardsticks for a bundle: its speed on this machine, and what keywords alone reach.

In comes a bundle or a data set; out go times beside plain transformers and onnxruntime, where the
time goes, and the figures of a TF-IDF baseline.
"""
