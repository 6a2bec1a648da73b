"""Two folders of images compared: pair by pair by LPIPS or DISTS, or as sets by precision and recall."""
