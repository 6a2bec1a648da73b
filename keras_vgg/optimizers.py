"""Optimizers by their Keras names, as data. Imports no TensorFlow; `training.optimizer` creates them."""

SGD = "sgd"
"""The paper's optimizer, with weight decay as L2 inside the momentum; that of all others is decoupled, as in Keras."""

_ADAPTIVE_RATE = 1e-3

RATES = {
    SGD: 1e-2,
    "adadelta": 1.0,
    "adafactor": _ADAPTIVE_RATE,
    "adagrad": 1e-2,
    "adam": _ADAPTIVE_RATE,
    "adamax": _ADAPTIVE_RATE,
    "adamw": _ADAPTIVE_RATE,
    "ftrl": _ADAPTIVE_RATE,
    "lion": 1e-4,
    "nadam": _ADAPTIVE_RATE,
    "rmsprop": _ADAPTIVE_RATE,
}
"""Default initial learning rate of each optimizer: Keras', or that of its paper where Keras differs."""

SLOTS = dict.fromkeys(RATES, 2) | dict.fromkeys((SGD, "adagrad", "lion", "rmsprop"), 1)
"""Maximum number of values that each optimizer stores per weight."""
