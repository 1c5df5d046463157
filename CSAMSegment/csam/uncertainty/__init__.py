"""What probabilities and neighbouring slices tell of errors: small pure functions, each with its source."""
