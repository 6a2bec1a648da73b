"""Testing descriptors with linear classifiers, as in Table 11: splits, SVMs, mean class recall, average precision."""
