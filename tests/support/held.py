"""What an object holds, for tests that nothing grows."""

import pickle


def held(thing: object) -> int:
    """Bytes of its pickle, with all that it refers to."""
    return len(pickle.dumps(thing))
