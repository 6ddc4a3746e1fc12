"""Drop-in classes: thin subclasses of transformers' own, and the functions that accelerate a model in place."""
