"""Testing descriptors by linear classifiers, as Table 11 does: splits, SVMs, mean class recall, average precision."""
