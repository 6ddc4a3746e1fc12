"""What a BERT config may ask for, checked before a module is made or memory is taken."""

from __future__ import annotations

from typing import Any

from transformers.activations import ACT2FN

from bertfast.errors import ConfigError

# Of each size, the least that torch can make a tensor of, and far more than any model has: a file with a digit too many
# must not be answered by hours of making modules.
_BOUNDS = {
    "vocab_size": (0, 2**28),
    "hidden_size": (1, 2**17),
    "num_hidden_layers": (-(2**31), 2**12),
    "num_attention_heads": (1, 2**17),
    "intermediate_size": (0, 2**20),
    "max_position_embeddings": (0, 2**24),
    "type_vocab_size": (0, 2**20),
}
_MOST_PARAMETERS = 2**40


def check_values(config: Any) -> None:
    """Raises ConfigError for what no model can have. What is of another type is left to transformers."""
    sizes: dict[str, Any] = {name: getattr(config, name, None) for name in _BOUNDS}
    for name, (least, most) in _BOUNDS.items():
        if isinstance(sizes[name], int) and not least <= sizes[name] <= most:
            raise ConfigError(f"{name}: expected {max(least, 0)} to {most}, got {sizes[name]}; is the config damaged?")
    if all(isinstance(size, int) for size in sizes.values()):
        _check_together(config, sizes)
    activation = getattr(config, "hidden_act", None)
    if isinstance(activation, str) and activation not in ACT2FN:
        raise ConfigError(f"hidden_act: expected a name of transformers.activations.ACT2FN, got {activation!r}")


def _check_together(config: Any, sizes: dict[str, int]) -> None:
    hidden_size, num_heads = sizes["hidden_size"], sizes["num_attention_heads"]
    # transformers makes the same exception.
    if hidden_size % num_heads and not hasattr(config, "embedding_size"):
        raise ConfigError(f"hidden_size: expected a multiple of {num_heads}, num_attention_heads, got {hidden_size}")
    count = _count_parameters(**sizes)
    if count > _MOST_PARAMETERS:
        given = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ConfigError(f"config: {count} parameters, expected at most {_MOST_PARAMETERS}; got {given}")


def _count_parameters(
    vocab_size: int,
    hidden_size: int,
    num_hidden_layers: int,
    intermediate_size: int,
    max_position_embeddings: int,
    type_vocab_size: int,
    **others: int,
) -> int:
    """Of the matrices of an encoder."""
    tables = (vocab_size + max_position_embeddings + type_vocab_size) * hidden_size
    return tables + max(num_hidden_layers, 0) * hidden_size * (4 * hidden_size + 2 * intermediate_size)
