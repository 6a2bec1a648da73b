"""Testing as in Sec. 3.2: views of an image to posteriors to their mean, whatever the protocol."""
