"""What runs the evals: cases, statistics, the gate and the reports."""
