"""Optimizers by the names that Keras has for them, as data. Imports no TensorFlow; `training.optimizer` makes them."""

SGD = "sgd"
"""The paper's: its weight decay is L2 inside the momentum. That of all others is decoupled, as Keras has it."""

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
"""What recipes may call an optimizer, and its initial rate where none is given: Keras' own, or its paper's where Keras differs."""

SLOTS = dict.fromkeys(RATES, 2) | dict.fromkeys((SGD, "adagrad", "lion", "rmsprop"), 1)
"""Numbers that an optimizer keeps of each weight, at most."""
