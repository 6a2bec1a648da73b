"""Captions of pictures: whose results they show."""

from keras_vgg.evaluation.results import Posteriors
from keras_vgg.identity import digests_of, short


def caption(result: Posteriors) -> tuple[str, dict]:
    """Returns the title of a picture, and facts with digests for its metadata."""
    digests = short(result.facts.get("nets sha256", ""))
    net = f"net {result.facts['net']}" + (f" ({digests})" if digests else "")
    told = [net, result.facts["protocol"], f"Q = {result.facts['Q']}", result.facts.get("settings")]
    names = ("net", "S", "Q", "protocol", "settings", "data")
    return ", ".join(filter(None, told)), {name: result.facts.get(name) for name in names} | digests_of(result.facts)
