# glvq bench gpu: what ptxas makes of the products, counted. The targets are those
# of the design: instructions per weight, nothing spilled.
# REQUIRES: compiler, ptxas, nvdisasm
# RUN: %PYTHON %s | FileCheck %s
# CHECK: 7 kernels measured

from glvq.bench import gpu

kernels = gpu.bench(rows=4096, columns=16384, widths=(2,))
kernels += gpu.bench(rows=4096, columns=16384, widths=(1,), chips=("sm_90",))
kernels += gpu.bench(rows=4096, columns=16384, widths=(2,), chips=("sm_90",), activations="f16")
for kernel in kernels:
    summary = kernel.summary()
    assert kernel.has_loop and kernel.spill_bytes == 0, summary
    assert kernel.per_weight <= (1.0 if kernel is kernels[-1] else 0.45), summary
    assert kernel.loads[128] > 0, summary
    if "roofline" in summary:
        assert summary["binding"] == "memory", summary
print(len(kernels), "kernels measured")

# The parts that need no tools.
body = gpu.loops(
    """.text.f:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDG.E.128.CONSTANT R4, [R2.64] ;
        /*0020*/                   IMMA.16832.U8.S8 R8, R4.ROW, R12.COL, R8 ;
        /*0030*/              @!P0 BRA `(.L_x_0) ;
.L_x_1:
        /*0040*/                   BRA `(.L_x_1);
"""
)
assert [gpu.operation(i) for i in body["f"][1]] == ["LDG.E.128.CONSTANT", "IMMA.16832.U8.S8", "BRA"], body
assert gpu.pipe_of("LDG.E.128") == "LSU" and gpu.pipe_of("LOP3.LUT") == "ALU" and gpu.pipe_of("BRA") == "other"
assert 2.3 < gpu.GPUS[0].budget(2) < 2.5 and 10 < gpu.GPUS[1].budget(2) < 10.5 and 2.4 < gpu.GPUS[2].budget(2) < 2.6
