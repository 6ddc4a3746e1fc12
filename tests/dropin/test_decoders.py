"""Decoders run stock; the encoder of an encoder-decoder model stays fast."""

from __future__ import annotations

import torch
import transformers

import bertfast
from dropin.helpers import (
    assert_falls_back,
    counted,
    plain_call,
)


def test_generation_with_a_decoder(make_pair, batch):
    pair = make_pair("BertLMHeadModel", is_decoder=True, eos_token_id=None)
    prompt = batch["input_ids"][[0, 2]][:, :5]
    with counted() as calls:
        outputs = [model.generate(prompt, max_new_tokens=6, do_sample=False) for model in (pair.stock, pair.fast)]
    assert outputs[0].shape == (2, 11)
    assert torch.equal(outputs[1], outputs[0])
    assert calls["fast"] == 0
    assert calls["stock"] == 6


def test_a_decoder_with_cache_and_cross_attention(make_pair, batch, caplog):
    pair = make_pair(is_decoder=True, add_cross_attention=True)
    more = {"encoder_hidden_states": torch.randn(5, 7, 48), "use_cache": True}

    def call(model):
        output = plain_call(batch, **more)(model)
        assert output.past_key_values is not None
        return output.last_hidden_state

    assert_falls_back(pair, call, "decoder|encoder_hidden_states", caplog)


def test_an_encoder_decoder_model_has_a_fast_encoder(make_config, batch):
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        make_config(attn_implementation="sdpa"),
        make_config(attn_implementation="sdpa", is_decoder=True, add_cross_attention=True),
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, None
    model = transformers.EncoderDecoderModel(config=config).eval()
    options = {"max_new_tokens": 5, "do_sample": False}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    expected = model.generate(**inputs, **options)
    bertfast.accelerate(model)
    with counted() as calls:
        assert torch.equal(model.generate(**inputs, **options), expected)
    assert calls["fast"] == 1
    assert calls["stock"] == 5
