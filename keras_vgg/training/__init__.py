"""The paper's training (Sec. 3.1): one step for one device, many and many machines; schedule, checkpoints, runs."""
