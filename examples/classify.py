"""The classic script: what is the sentiment of these texts?

Usage: python classify.py MODEL_FOLDER TEXT [TEXT ...]
"""

import sys

import torch
from transformers import BertForSequenceClassification, BertTokenizer


def load(folder):
    tokenizer = BertTokenizer.from_pretrained(folder)
    model = BertForSequenceClassification.from_pretrained(folder)
    return model, tokenizer


def classify(model, tokenizer, texts):
    inputs = tokenizer.batch_encode_plus(
        texts, max_length=512, return_tensors="pt", padding="max_length", truncation=True
    )
    outputs = model(**inputs)
    predictions = torch.argmax(outputs.logits, dim=1)
    return [model.config.id2label[i] for i in predictions.tolist()], outputs.logits


if __name__ == "__main__":
    texts = sys.argv[2:]
    labels, _ = classify(*load(sys.argv[1]), texts)
    for label, text in zip(labels, texts, strict=True):
        print(f"{label}: {text}")
