"""What BERT is used for, on MiniLM's weights and real text; heads that it lacks are seeded."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers

import bertfast
from compatibility.behaviours import BOTH, behaviour
from compatibility.bench import TEXTS, Bench, assert_same, plain

_GROUP = "Applications (MiniLM)"
_REVIEWS = ["I loved every minute of it.", "Dull.", "The plot makes no sense, and the jokes are not even funny."]
_QUESTIONS = ["Who jumps over the dog?", "What is padded?"]
_CONTEXTS = [TEXTS[3], TEXTS[1]]


@behaviour(_GROUP, "text classification, sentiment: probabilities and labels", "probabilities, labels")
def _classification(bench: Bench) -> None:
    stock, fast = bench.real("BertForSequenceClassification", id2label={0: "negative", 1: "positive"})

    def classify(model: Any) -> Any:
        probabilities = plain(bench.tokens(_REVIEWS))(model).logits.softmax(1)
        return probabilities, [model.config.id2label[i] for i in probabilities.argmax(1).tolist()]

    bench.same(classify, stock, fast)


@behaviour(_GROUP, "question answering: the best span, padding and all", "answers")
def _answers(bench: Bench) -> None:
    stock, fast = bench.real("BertForQuestionAnswering")
    batch = bench.tokens(_QUESTIONS, _CONTEXTS)

    def answer(model: Any) -> list[str]:
        output = plain(batch)(model)
        # As many scripts do it, without a look at the mask.
        spans = zip(output.start_logits.argmax(1).tolist(), output.end_logits.argmax(1).tolist(), strict=True)
        return [
            bench.tokenizer.decode(ids[start : end + 1])
            for ids, (start, end) in zip(batch["input_ids"], spans, strict=True)
        ]

    bench.same(answer, stock, fast)
    real = batch["attention_mask"].bool()
    bench.same(lambda model: plain(batch)(model).start_logits[real], stock, fast)


@behaviour(_GROUP, "named entities (token classification)", "labels of all words")
def _entities(bench: Bench) -> None:
    labels = dict(enumerate(("O", "B-PER", "I-PER", "B-LOC", "I-LOC")))
    stock, fast = bench.real("BertForTokenClassification", num_labels=5, id2label=labels)
    words = [text.rstrip(".").split() for text in TEXTS]
    encoded = bench.tokenizer(words, is_split_into_words=True, padding=True, return_tensors="pt")

    def label(model: Any) -> list[list[str]]:
        found = plain(encoded)(model).logits.argmax(2).tolist()
        first = [{w: c for c, w in reversed(list(enumerate(encoded.word_ids(i)))) if w is not None} for i in range(4)]
        return [[labels[row[column]] for _, column in sorted(at.items())] for row, at in zip(found, first, strict=True)]

    assert [len(row) for row in bench.same(label, stock, fast)] == [len(row) for row in words]


@behaviour(_GROUP, "semantic roles: one sentence, each of its predicates marked by `token_type_ids`", "roles, scores")
def _roles(bench: Bench) -> None:
    stock, fast = bench.real("BertForTokenClassification", num_labels=4)
    words = TEXTS[3].rstrip(".").replace(",", "").split()
    predicates = [words.index("jumps"), words.index("reads")]
    encoded = bench.tokenizer([words] * 2, is_split_into_words=True, return_tensors="pt")
    types = [[int(w == predicates[i]) for w in encoded.word_ids(i)] for i in range(2)]
    batch = {**encoded, "token_type_ids": torch.tensor(types)}
    first, second = bench.same(lambda model: plain(batch)(model).logits, stock, fast)
    assert not torch.equal(first, second)


@behaviour(_GROUP, "fill-mask: the best words for `[MASK]`", "words, scores")
def _fill_mask(bench: Bench) -> None:
    stock, fast = bench.real("BertForMaskedLM")
    batch = bench.tokens([f"{text} [MASK] is missing." for text in TEXTS])
    masked = batch["input_ids"] == bench.tokenizer.mask_token_id

    def fill(model: Any) -> Any:
        best = plain(batch)(model).logits[masked].topk(5)
        return best.values, best.indices

    bench.same(fill, stock, fast)


@behaviour(_GROUP, "next sentence prediction", "probabilities")
def _next_sentence(bench: Bench) -> None:
    stock, fast = bench.real("BertForNextSentencePrediction")
    bench.same(lambda m: plain(bench.tokens(TEXTS, TEXTS[::-1]))(m).logits.softmax(1), stock, fast)


@behaviour(_GROUP, "multiple choice", "logits, choice")
def _choice(bench: Bench) -> None:
    stock, fast = bench.real("BertForMultipleChoice")
    encoded = bench.tokens([_QUESTIONS[0]] * 4, TEXTS)
    batch = {name: value.unsqueeze(0) for name, value in encoded.items()}
    bench.same(lambda m: (plain(batch)(m).logits, plain(batch)(m).logits.argmax(1)), stock, fast)


@behaviour(_GROUP, "feature extraction: `[CLS]`, mean of real tokens, similarity", "vectors, similarities")
def _features(bench: Bench) -> None:
    stock, fast = bench.real()
    batch = bench.tokens()
    weights = batch["attention_mask"].unsqueeze(2)

    def embed(model: Any) -> Any:
        states = plain(batch)(model).last_hidden_state
        mean = torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1))
        return states[:, 0], mean, mean @ mean.T

    bench.same(embed, stock, fast)


@behaviour(_GROUP, "pseudo-perplexity: each word masked in turn", "loss of each sentence")
def _perplexity(bench: Bench) -> None:
    stock, fast = bench.real("BertForMaskedLM")
    ids = bench.tokens(TEXTS[3])["input_ids"]
    inner = range(1, ids.shape[1] - 1)
    batch = ids.repeat(len(inner), 1)
    labels = torch.full_like(batch, -100)
    for row, column in enumerate(inner):
        labels[row, column] = batch[row, column]
        batch[row, column] = bench.tokenizer.mask_token_id
    call = plain({"input_ids": batch, "labels": labels})
    bench.same(lambda model: call(model).loss.exp(), stock, fast)


def translator(bench: Bench) -> Any:
    """MiniLM as encoder, a tiny seeded decoder."""
    torch.manual_seed(0)
    encoder = transformers.BertModel.from_pretrained(bench.minilm)
    config = bench.config(vocab_size=30522, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False)
    model = transformers.EncoderDecoderModel(encoder=encoder, decoder=transformers.BertLMHeadModel(config)).eval()
    for parameter in model.decoder.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    settings = {"decoder_start_token_id": 101, "pad_token_id": 0, "eos_token_id": 102, "bos_token_id": 101}
    for name, value in settings.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    return model


def _generate(bench: Bench, **options: Any) -> None:
    stock = translator(bench)
    fast = bertfast.accelerate(copy.deepcopy(stock))
    batch = bench.tokens()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    tokens = bench.same(lambda model: model.generate(**inputs, max_new_tokens=8, **options), stock, fast)
    assert len(set(tokens[0].tolist())) > 2, "the decoder repeats one token; this proves nothing"


@behaviour(_GROUP, "summarisation, translation: `EncoderDecoderModel.generate`, greedy", "every token", BOTH)
def _greedy(bench: Bench) -> None:
    _generate(bench, do_sample=False)


@behaviour(_GROUP, "the same with beams", "every token", BOTH)
def _beams(bench: Bench) -> None:
    _generate(bench, num_beams=3, do_sample=False)


@behaviour(_GROUP, "the same, sampled with a seed", "every token", BOTH)
def _sampled(bench: Bench) -> None:
    stock = translator(bench)
    fast = bertfast.accelerate(copy.deepcopy(stock))
    batch = bench.tokens()

    def sample(model: Any) -> torch.Tensor:
        torch.manual_seed(5)
        return model.generate(batch["input_ids"], max_new_tokens=8, do_sample=True)

    bench.same(sample, stock, fast)


@behaviour(_GROUP, "fine-tuning an `EncoderDecoderModel`, then its loss", "loss of each step", BOTH)
def _train_translator(bench: Bench) -> None:
    stock = translator(bench)
    fast = bertfast.accelerate(copy.deepcopy(stock))
    batch = bench.tokens()
    inputs = {**{n: batch[n] for n in ("input_ids", "attention_mask")}, "labels": batch["input_ids"]}
    losses = []
    for model in (stock, fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
        torch.manual_seed(1)
        model.train()
        for _ in range(2):
            loss = model(**inputs).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append((loss.item(), plain(inputs)(model.eval()).loss))
    assert losses[1][0] == losses[0][0]
    assert_same(losses[1], losses[0])
