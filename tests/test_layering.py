"""The arrows of the design: imports go down only, and importing bertfast does nothing to anybody."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest
from processes import printed

import bertfast

_PACKAGE = Path(bertfast.__file__).parent

# From the top. A module may import from lines below its own, never from its own line or above. Names ending in a
# dot stand for all modules inside; among themselves those may import each other (`ops.` its helpers).
_LAYERS = (
    ("__main__",),
    ("cli.",),
    ("bench.",),
    ("verification.",),
    ("environment.",),
    ("__init__",),
    ("models.pipelines",),
    ("models.auto",),
    ("models.accelerate", "models.explain", "models.warmup"),
    ("models.scopes",),
    ("models.encoders", "models.pipeline_classes", "models.sentence_transformers"),
    ("models.install", "models.pipeline_iterators"),
    ("models.token_heads",),
    ("models.bert", "models.tokenizers", "models.__init__"),
    ("models.batch_methods", "models.forwards", "models.stand_ins", "models.loading", "models.watchers", "engines"),
    ("engine",),
    ("forward", "health"),
    ("plan", "preparing"),
    ("released",),
    ("prepared",),
    ("autograd", "padding", "runner"),
    ("deferred", "guard"),
    ("arguments", "encoder", "families.", "graphs", "inputs", "options"),
    ("weights",),
    ("backends.",),
    ("packing",),
    ("linear.",),
    ("ops.",),
    ("cpu_dense",),
    ("cpu_kernels",),
    ("cpu_extension", "extension", "precision", "probing", "staleness"),
    ("binary", "faults", "released_parameter"),
    (
        "changing",
        "compat",
        "corpus",
        "cpu_sources",
        "errors",
        "forking",
        "hooks",
        "model_names",
        "norm",
        "origin",
        "reporting",
        "roofline.",
        "tables",
        "versions",
        "_version",
    ),
    ("plotting",),
    ("files",),
)
# The only ones that know transformers. Everything else deals in tensors.
_KNOW_TRANSFORMERS = ("models.", "families.", "compat", "bench.", "cli.")


def _name(path):
    return ".".join(path.relative_to(_PACKAGE).with_suffix("").parts)


_MODULES = {_name(path): path for path in sorted(_PACKAGE.rglob("*.py"))}


def _matches(module, entry):
    return module.startswith(entry) if entry.endswith(".") else module == entry


def _layer(module):
    for depth, line in enumerate(_LAYERS):
        for entry in line:
            if _matches(module, entry):
                return depth, entry
    pytest.fail(f"bertfast/{module.replace('.', '/')}.py has no place in _LAYERS: give it one")


def _imports(path):
    """All modules that a file imports, at any depth of its code: (dotted name, line)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def _own(imported):
    """The module of bertfast that ``imported``, a module or a name in one, comes from."""
    parts = imported.split(".")[1:]
    for end in range(len(parts), 0, -1):
        for candidate in (".".join(parts[:end]), ".".join([*parts[:end], "__init__"])):
            if candidate in _MODULES:
                return candidate
    return "__init__"


@pytest.mark.parametrize("module", _MODULES)
def test_imports_go_down(module):
    depth, entry = _layer(module)
    for imported, line in _imports(_MODULES[module]):
        if imported.split(".")[0] != "bertfast":
            continue
        target = _own(imported)
        target_depth, target_entry = _layer(target)
        inside = entry == target_entry and entry.endswith(".")
        assert inside or target_depth > depth, (
            f"bertfast/{module.replace('.', '/')}.py:{line} imports {target}, which stands beside or above it"
        )


@pytest.mark.parametrize("module", _MODULES)
def test_few_know_transformers(module):
    roots = {imported.split(".")[0] for imported, _ in _imports(_MODULES[module])}
    if not any(_matches(module, entry) for entry in _KNOW_TRANSFORMERS):
        assert not roots & {"transformers", "sentence_transformers"}
    if module.startswith("ops."):
        assert roots <= {"bertfast", "torch"} | sys.stdlib_module_names, "ops are torch and nothing else"


def test_no_place_in_the_layers_is_empty():
    for entry in (entry for line in _LAYERS for entry in line):
        assert any(_matches(module, entry) for module in _MODULES), f"{entry}: no such module"


def test_the_check_sees_an_arrow_back(tmp_path):
    """The reader of imports, on code that breaks the rule in each way there is."""
    path = tmp_path / "bad.py"
    path.write_text(
        "import bertfast.engine\nfrom bertfast.models import bert\n"
        "def f():\n    from bertfast import guard\n    from bertfast.models.bert import BertModel\n"
    )
    found = [(_own(name), line) for name, line in _imports(path)]
    assert found == [("engine", 1), ("models.bert", 2), ("guard", 4), ("models.bert", 5)]


def _python(code):
    return printed("-c", code)


def test_importing_is_cheap():
    code = "import sys, bertfast; print(*(m for m in ('torch', 'transformers', 'numpy') if m in sys.modules))"
    assert _python(code).split() == []


def test_every_public_name_is_there():
    for name in bertfast.__all__:
        assert getattr(bertfast, name) is not None
    assert len(set(bertfast.__all__)) == len(bertfast.__all__)
    assert set(bertfast.__all__) <= set(dir(bertfast))


@pytest.mark.parametrize("module", ["errors", "faults"])
def test_every_error_is_public(module):
    tree = ast.parse(_MODULES[module].read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert names <= set(bertfast.__all__)
    home = importlib.import_module(f"bertfast.{module}")
    assert all(getattr(bertfast, name) is getattr(home, name) for name in names)


_SIDE_EFFECTS = """
import logging, os, sys, warnings, torch, transformers
from transformers.models.auto import modeling_auto, tokenization_auto
from transformers.models.bert import modeling_bert as hf
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers import activations
try:
    from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY as registry
except ImportError:
    from transformers.utils.generic import _CAN_RECORD_REGISTRY as registry

def state():
    classes = [c for c in vars(hf).values() if isinstance(c, type)]
    found = {(c.__name__, k): v for c in classes for k, v in vars(c).items() if not k.startswith(("_abc_", "__"))}
    found["registry"] = {k: dict.get(registry, k) for k in known}
    found["attention"] = list(ALL_ATTENTION_FUNCTIONS.valid_keys())
    found["activations"] = list(activations.ACT2FN)
    found["auto"] = list(modeling_auto.MODEL_MAPPING_NAMES.items())
    found["constructors and calls"] = (hf.BertModel.__init__, torch.nn.Module.__call__, sys.excepthook)
    found["exported"] = (transformers.AutoModel, transformers.AutoTokenizer)
    found["torch"] = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    found["precision"] = torch.get_float32_matmul_precision()
    found["hooks"] = len(torch.nn.modules.module._global_forward_hooks)
    found["logging"] = (logging.getLogger().handlers[:], logging.getLogger().level)
    found["logger"] = logging.getLogger("bertfast").handlers[:]
    found["warnings"] = warnings.filters[:]
    found["environment"] = dict(os.environ)
    return found

known = list(registry)
before = state()
import bertfast
for name in bertfast.__all__:
    getattr(bertfast, name)
bertfast.AutoTokenizer, bertfast.BertTokenizer, bertfast.BertConfig
after = state()
changed = [key for key in before if before[key] is not after[key] and before[key] != after[key]]
assert not changed and before.keys() == after.keys(), changed
assert type(transformers.AutoModel.from_config(transformers.BertConfig(
    vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))) is hf.BertModel
"""


@pytest.mark.slow
def test_importing_changes_nothing_of_transformers():
    _python(_SIDE_EFFECTS)
