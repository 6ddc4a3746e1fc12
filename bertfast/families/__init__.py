"""One file per architecture: where its parameters are, what they mean, and what is refused."""


class Refused(Exception):
    """This call is not one that the fast path computes; the text says why, and stock transformers will run."""
