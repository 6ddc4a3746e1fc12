"""The models that all candidates compute, each as a module of (input_ids, attention_mask) -> [B, outputs].

A module's ``head`` is what follows the encoder, of (last hidden state, pooled output, attention_mask): peers that take
over the encoder alone put it behind themselves. Its outputs end in ``hidden_size`` values for each text, what is pooled
of it; a classifier's logits stand before them.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from bertfast.model_names import path_of

#: Built-in models, as changes of BERT-base's config; the weights are seeded, as transformers draws them.
SIZES: dict[str, dict[str, int]] = {
    "bert-base": {},
    "bert-large": {
        "num_hidden_layers": 24,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "minilm-l6": {
        "num_hidden_layers": 6,
        "hidden_size": 384,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "bert-tiny": {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}
LABELS = 2


class LogitsAndPooled(nn.Module):
    """A classifier that gives what it was given, too: logits and pooled output side by side, [B, labels + H]."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.cat([self.classifier(pooled), pooled], dim=-1)


class OfPooled(nn.Module):
    """The head behind a pooled output."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, hidden: Tensor, pooled: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.classifier(pooled)
        return found


class MeanPooling(nn.Module):
    """The mean of the real tokens' hidden states, [B, H]."""

    def forward(self, hidden: Tensor, pooled: Tensor | None, mask: Tensor) -> Tensor:
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)


#: All that a saved head consists of, beside numbers.
HEAD_CLASSES: list[Any] = [OfPooled, LogitsAndPooled, MeanPooling, nn.Linear]


class Classifier(nn.Module):
    """BertForSequenceClassification."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.model.classifier = LogitsAndPooled(self.model.classifier)
        self.head = OfPooled(self.model.classifier)

    @property
    def encoder(self) -> Any:
        return self.model.bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class Embedder(nn.Module):
    """An encoder and mean pooling: sentence embeddings, not normalised."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = MeanPooling()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled: Tensor = self.head(hidden, None, attention_mask)
        return pooled


def build(name: str, attention: str = "sdpa") -> Any:
    """A `Classifier` or `Embedder` in eval mode, the same in every process.

    name: built in (`SIZES`, ``MINILM``), a folder, or a name on the hub. A checkpoint of BertForSequenceClassification
    is a classifier, as the built-in sizes are; of any other, the encoder embeds.
    """
    config = config_of(name)
    config._attn_implementation = attention
    if name in SIZES:
        torch.manual_seed(0)
        return Classifier(transformers.BertForSequenceClassification(config)).eval()
    options = {"config": config, "attn_implementation": attention, "dtype": torch.float32}
    if "BertForSequenceClassification" in (config.architectures or ()):
        return Classifier(transformers.BertForSequenceClassification.from_pretrained(path_of(name), **options)).eval()
    return Embedder(transformers.AutoModel.from_pretrained(path_of(name), **options)).eval()


def config_of(name: str) -> Any:
    """Its config. Raises OSError for a name that is not built in, no folder and not on the hub."""
    if name in SIZES:
        return transformers.BertConfig(num_labels=LABELS, **SIZES[name])
    return transformers.AutoConfig.from_pretrained(path_of(name))
