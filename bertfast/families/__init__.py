"""One file per architecture: where its parameters are, what they mean, and what is refused."""
