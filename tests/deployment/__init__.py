"""What docker and ci bring, linted and really run."""
