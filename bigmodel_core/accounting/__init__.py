"""What privacy training has cost: bounds of epsilon for sums with noise, and the ledger of a run."""
