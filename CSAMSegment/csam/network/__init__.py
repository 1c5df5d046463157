"""The network: CSAM's gates, the networks of the paper, samples of the gates, where and in which format it computes.

Knows nothing of images, of models on disk or of the pipeline.
"""
