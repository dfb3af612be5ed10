"""The size of an object's contents, for tests of leaks."""

import pickle


def held(thing: object) -> int:
    """Bytes of its pickle, with all that it refers to."""
    return len(pickle.dumps(thing))
