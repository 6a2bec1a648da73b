"""Testing as in Sec. 3.2: from the views of an image to their mean posteriors, for all protocols."""
