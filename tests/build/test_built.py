"""The extension itself: compiled with whatever torch is here, loaded without a GPU."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import bertfast
from bertfast import ops
from build.conftest import ROOT, binaries_of_other_environments, package, run_python

pytestmark = pytest.mark.slow

CSRC = ROOT / "csrc"
_BINDINGS = [path.read_text() for path in (CSRC / "bindings").glob("*.cpp") if path.stem != "launch_emulated"]
_WITH_KERNEL = set(re.findall(r'\.impl\("(\w+)"', "".join(_BINDINGS)))


def _run(code, where):
    done = run_python(f"import warnings; warnings.simplefilter('error')\n{code}", where)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_build_info(built):
    out = _run(
        "import bertfast.extension as e, torch\n"
        "assert e.available() and e.why_not() is None and e.why_not_on((8, 6)) is None\n"
        "info = e.build_info()\n"
        "assert info['torch_headers'] == torch.__version__\n"
        "for item in sorted(info.items()): print(*item)\n",
        built,
    )
    lines = dict(line.split(" ", 1) for line in out.splitlines())
    assert lines["bertfast"] == bertfast.__version__
    assert lines["sass"] == "['sm_80']"
    assert lines["ptx"] == "['compute_80']"
    assert lines["torch_stable_abi"] == "2.11"
    nvcc = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    assert f"V{lines['nvcc']}\n" in nvcc
    assert re.search(r"\d+\.\d+", lines["host_compiler"])


@pytest.mark.parametrize("order", ["bertfast.extension, bertfast.ops", "bertfast._C, bertfast.ops, bertfast._C"])
def test_registered_ops(built, order):
    """Whichever registers first: the schemas in Python or the kernels in C++."""
    out = _run(
        f"import torch, {order}\n"
        "import bertfast.extension\n"
        "torch.ops.load_library(bertfast._C.__file__)\n"
        "for name in bertfast.ops.__all__:\n"
        "    dump = torch._C._dispatch_dump(f'bertfast::{name}')\n"
        "    print(name, *[line for line in dump.splitlines() if line.startswith('CUDA')])\n",
        built,
    )
    lines = dict(line.split(" ", 1) for line in out.splitlines())
    assert lines.keys() == set(ops.__all__)
    for name, line in lines.items():
        assert ("_library.py" not in line) == (name in _WITH_KERNEL), line


def test_an_op_without_kernel_says_so(built):
    out = _run(
        "import torch, bertfast\nfrom bertfast.ops._library import register\n"
        "register('no_kernel(Tensor x) -> Tensor', torch.clone, torch.empty_like, id)\n"
        "cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)\n"
        "try:\n    torch.ops.bertfast.no_kernel.default.redispatch(cuda, torch.ones(1))\n"
        "except bertfast.ExtensionError as error:\n    print(error)\n",
        built,
    )
    assert "bertfast::no_kernel: no CUDA kernel: bertfast._C has none for it" in out


def test_kernels_check_their_arguments(built):
    """Called as a CUDA tensor's op would be, they refuse: wrong shapes first, and what is not on a GPU last."""
    out = _run(
        "import torch, bertfast.ops\n"
        "cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)\n"
        "for width in (7, 8):\n"
        "    try:\n"
        "        torch.ops.bertfast.bias_gelu.default.redispatch(cuda, torch.ones(2, 8), torch.ones(width))\n"
        "    except ValueError as error:\n"
        "        print(error)\n",
        built,
    )
    assert out.splitlines() == [
        "bias: expected [8], got [7]",
        "x: expected a tensor on a CUDA device, got another device",
    ]


_ELSEWHERE = """
import torch, bertfast.ops
ops, cuda = torch.ops.bertfast, torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
offsets, rows = torch.tensor([0, 9], dtype=torch.int32), torch.tensor([9, 9, 9])
def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")
keys = meta(1, dtype=torch.int32)
for op, arguments in (
    (ops.varlen_attention, (meta(3, 3, 1, 8), offsets, None, 9, 1.0)),
    (ops.varlen_attention, (torch.ones(3, 3, 1, 8), offsets, keys, 9, 1.0)),
    (ops.first_token_attention, (torch.ones(1, 1, 8), meta(3, 2, 1, 8), offsets, None, 1.0)),
    (ops.first_token_attention, (torch.ones(1, 1, 8), torch.ones(3, 2, 1, 8), offsets, keys, 1.0)),
    (ops.pad_input, (meta(3, 8), rows)),
    (ops.gather_first, (meta(3, 8), rows)),
):
    try:
        op.default.redispatch(cuda, *arguments)
    except (ValueError, RuntimeError) as error:
        print(error)
"""


def test_what_lies_elsewhere_is_not_read(built):
    """Offsets and rows are wrong here: that is looked at only where the host can read every tensor."""
    lines = _run(_ELSEWHERE, built).splitlines()
    assert len(lines) == 6
    assert all(re.fullmatch(r"\w+: expected a tensor on a CUDA device, got another device", line) for line in lines)


def test_fake_tensors_on_cuda(built):
    _run(
        "import torch\nfrom torch._subclasses.fake_tensor import FakeTensorMode\n"
        "from torch.utils._pytree import tree_leaves\nfrom ops.cases import OPS\n"
        "for op in OPS.values():\n"
        "    with FakeTensorMode():\n"
        "        arguments = {k: torch.empty_like(v, device='cuda') if isinstance(v, torch.Tensor) else v\n"
        "                     for k, v in op.make(7, torch.float16).items()}\n"
        "        outs = tree_leaves(op(**arguments))\n"
        "        assert outs and {out.device.type for out in outs} == {'cuda'}, op.name\n",
        built,
    )


def test_kernels(built):
    out = _run(
        "import bertfast.extension as e\n"
        "for row in e.kernels(): print(row['architecture'], row['registers'], row['kernel'])\n"
        "name = e.kernels()[0]['kernel']\n"
        "try:\n    e.kernel_attributes('none')\nexcept ValueError as error:\n    print(error)\n",
        built,
    )
    *rows, error = out.splitlines()
    assert error == "kernel: expected a name that kernels() lists, got 'none'"
    kernels = {row.split(" ", 2)[2] for row in rows}
    assert len(kernels) == len(rows), "one row for each kernel: there is one architecture"
    sources = "".join(path.read_text() for path in (CSRC / "kernels").glob("*.cuh"))
    defined = set(re.findall(r"__global__[^;{]*?\b(\w+_kernel)\(", sources))
    assert {re.search(r"(\w+_kernel)\b", kernel)[1] for kernel in kernels} == defined
    assert all(0 < int(row.split()[1]) <= 255 for row in rows)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_no_device_is_an_error_and_no_number(built):
    out = _run(
        "import bertfast.extension as e\n"
        "name = e.kernels()[0]['kernel']\n"
        "for ask in (lambda: e.kernel_attributes(name), lambda: e.blocks_per_multiprocessor(name, 128)):\n"
        "    try:\n        ask()\n    except RuntimeError as error:\n        print(error)\n",
        built,
    )
    assert [line.split(": ")[0] for line in out.splitlines()] == ["CUDA", "CUDA"]


@pytest.mark.parametrize(
    ("status", "device", "capability", "words"),
    [
        (209, "NVIDIA H100", 90, "no code for cuda:0, NVIDIA H100 (sm_90); it was built for sm_80 compute_80"),
        (209, "NVIDIA H100", 90, "TORCH_CUDA_ARCH_LIST=9.0 BERTFAST_CUDA=1 pip install"),
        (
            209,
            "Tesla V100",
            70,
            "the kernels need compute capability 7.5 or later, this is 7.0: cuda:0, Tesla V100 (sm_70)",
        ),
        (35, "", 0, "the NVIDIA driver is older than CUDA"),
        (1, "NVIDIA H100", 90, "invalid argument"),
    ],
)
def test_errors_of_cuda(built, status, device, capability, words):
    code = f"import bertfast.ops, bertfast._C as c; print(c._describe_status({status}, {device!r}, {capability}))"
    assert words in _run(code, built)


def test_both_say_the_same_of_a_device_without_code(built):
    """Asked before a launch, and told by a launch that failed: but for the name of the device."""
    out = _run(
        "import bertfast.extension as e, bertfast.ops, bertfast._C as c\n"
        "for capability in ((7, 5), (7, 0)):\n"
        "    number = 10 * capability[0] + capability[1]\n"
        "    print(e.why_not_on(capability))\n"
        "    print(c._describe_status(209, 'NAME', number).split(': ', 1)[1])\n",
        built,
    )
    asked, told, asked_old, told_old = out.splitlines()
    assert told.replace("cuda:0, NAME (sm_75)", "sm_75") == asked
    assert told_old.removesuffix(": cuda:0, NAME (sm_70)") == asked_old


_EXPORT = """
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from ops.cases import OPS
class Around(torch.nn.Module):
    def __init__(self, op, constants):
        super().__init__()
        self.op, self.constants = op, constants
    def forward(self, tensors):
        return self.op(**tensors, **self.constants)
for op in OPS.values():
    arguments = op.make(20, torch.bfloat16)
    constants = {k: v for k, v in arguments.items() if not isinstance(v, torch.Tensor)}
    with FakeTensorMode():
        tensors = {k: torch.empty(v.shape, dtype=v.dtype, device="cuda") for k, v in arguments.items()
                   if k not in constants}
        program = torch.export.export(Around(op, constants), (tensors,))
    assert f"bertfast.{op.name}" in program.graph_module.code
    print(op.name)
"""


def test_export_on_cuda(built):
    done = run_python(_EXPORT, built)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(ops.__all__)


def test_binaries_made_with_other_versions_of_torch(built, tmp_path):
    """`make test` leaves one that was compiled with its torch; `make cuda-check` loads it into another."""
    binaries = binaries_of_other_environments()
    if not binaries:
        pytest.skip("no other environment has built one")
    for number, binary in enumerate(binaries):
        where = package(tmp_path / str(number), binary)
        out = _run(
            "import bertfast.extension as e, bertfast.ops, torch\n"
            "print(e.why_not(), e.build_info()['torch_headers'], torch.__version__)\n",
            where,
        )
        assert out.startswith("None "), out


def test_another_version_is_refused(built, tmp_path):
    package = shutil.copytree(built / "bertfast", tmp_path / "bertfast")
    (package / "_version.py").write_text('__version__ = "9.9.9"\n')
    done = run_python(
        "import torch, bertfast.ops, bertfast\n"
        "cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)\n"
        "try:\n"
        "    torch.ops.bertfast.bias_gelu.default.redispatch(cuda, torch.ones(2, 8), torch.ones(8))\n"
        "except bertfast.ExtensionError as error:\n"
        "    print(error)\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"is of bertfast {bertfast.__version__}, this is 9.9.9" in done.stdout
    assert done.stderr.count("RuntimeWarning: bertfast runs without its CUDA kernels") == 1


def test_only_what_every_torch_has_is_linked(built):
    (binary,) = (built / "bertfast").glob("_C.*.so")
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf, of binutils, on the PATH")
    dynamic = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(\w[\w+-]*)\.so", dynamic))
    assert needed - {"ld-linux-x86-64", "ld-linux-aarch64"} <= {
        *("libtorch_cpu", "libstdc++", "libgcc_s", "libc", "libm", "libdl", "librt", "libpthread")
    }
    assert not re.search(r"RPATH|RUNPATH", dynamic)
    assert str(ROOT).encode() not in binary.read_bytes(), "holds a path of this machine"
