"""Recordings: what a session is, files in and out, the public sources, the simulated cortex.
The lowest floor of the package: it knows numpy, not torch, and nothing of the model."""
