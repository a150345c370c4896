"""What is measured, and how it can be measured again: `python -m benchmarks.speed`."""
