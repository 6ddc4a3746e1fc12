"""The kernels at BERT-base: how much each has to do."""

from __future__ import annotations

from bertfast.roofline.work import Case, Shape, Work

_ID_BYTES = 8


def _layer_norms(shape: Shape) -> list[Case]:
    t, h, e = shape.tokens, shape.hidden, shape.element_bytes
    embedding = Case(
        "embedding_layer_norm",
        "embedding_layer_norm",
        shape,
        "T·H·e + (S + 4)·H·e + 4·T·8",
        "T·H·e",
        "10·T·H",
        Work(t * h * e + (shape.length + 4) * h * e + 4 * t * _ID_BYTES, t * h * e, 10 * t * h, special_ops=t),
    )
    residual = Case(
        "residual_layer_norm",
        "residual_layer_norm",
        shape,
        "2·T·H·e + 3·H·e",
        "T·H·e",
        "10·T·H",
        Work(2 * t * h * e + 3 * h * e, t * h * e, 10 * t * h, special_ops=t),
    )
    return [embedding, residual]


def _bias_gelu(shape: Shape) -> Case:
    t, i, e = shape.tokens, shape.inner, shape.element_bytes
    return Case(
        "bias_gelu (erf)",
        "bias_gelu",
        shape,
        "T·I·e + I·e",
        "T·I·e",
        "23·T·I, T·I exp2",
        Work(t * i * e + i * e, t * i * e, 23 * t * i, special_ops=t * i),
    )


def _attention(name: str, shape: Shape) -> Case:
    t, s, h, n, e = shape.tokens, shape.length, shape.hidden, shape.heads, shape.element_bytes
    products, softmax, exponents = 4 * s * t * h, 4 * s * t * n, s * t * n
    is_exact = shape.element_bytes == 4
    return Case(
        name,
        "varlen_attention",
        shape,
        "3·T·H·e + 4·(B + 1)",
        "T·H·e",
        "4·S·T·H" + (" + " if is_exact else " on tensor cores, ") + "4·S·T·N, S·T·N exp2",
        Work(
            3 * t * h * e + 4 * (shape.batch + 1),
            t * h * e,
            softmax + (products if is_exact else 0),
            0 if is_exact else products,
            exponents,
        ),
    )


def _first_token(shape: Shape) -> Case:
    t, b, h, n, e = shape.tokens, shape.batch, shape.hidden, shape.heads, shape.element_bytes
    return Case(
        "first_token_attention",
        "first_token_attention",
        shape,
        "2·T·H·e + B·H·e + 4·(B + 1)",
        "B·H·e",
        "4·T·H + 4·T·N, T·N exp2",
        Work(2 * t * h * e + b * h * e + 4 * (b + 1), b * h * e, 4 * t * h + 4 * t * n, special_ops=t * n),
    )


def _padding(shape: Shape) -> list[Case]:
    t, b, h, e = shape.tokens, shape.batch, shape.hidden, shape.element_bytes
    unpad = Case(
        "unpad_input",
        "unpad_input",
        shape,
        "4·B·S·8",
        "B·S·8 + 16·B",
        "-",
        Work(4 * t * _ID_BYTES, t * _ID_BYTES + 16 * b),
    )
    pad = Case(
        "pad_input",
        "pad_input",
        shape,
        "T·H·e + B·S·8",
        "B·S·H·e",
        "-",
        Work(t * h * e + t * _ID_BYTES, t * h * e),
    )
    first = Case(
        "gather_first",
        "gather_first",
        shape,
        "B·H·e + 8·B",
        "B·H·e",
        "-",
        Work(b * h * e + 8 * b, b * h * e),
    )
    return [unpad, pad, first]


def cases_at(shape: Shape) -> list[Case]:
    """All kernels at one shape; attention by whichever kernel takes it."""
    attention = [_attention("varlen_attention", shape), _first_token(shape)]
    return [*_layer_norms(shape), _bias_gelu(shape), *attention, *_padding(shape)]


def cases() -> list[Case]:
    """All kernels at BERT-base B32 S128, and the attention's other ways at shapes that take them."""
    base = Shape()
    return [
        *_layer_norms(base),
        _bias_gelu(base),
        _attention("varlen_attention, short", base),
        _attention("varlen_attention, flash", Shape(batch=8, length=512)),
        _attention("varlen_attention, exact", Shape(element_bytes=4)),
        _first_token(base),
        *_padding(base),
    ]
