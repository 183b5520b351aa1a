"""CUDA's errors in the words of each library: what ends a turn, and what ends the process.

The texts are those that the libraries make, read off their sources or off reports of users:
CTranslate2 src/cuda/utils.h and utils.cc; ONNX Runtime core/providers/cuda/cuda_call.cc and
microsoft/onnxruntime issues 9939 and 10770, hacksider/Deep-Live-Cam issues 584 and 645; torch
c10/cuda/CUDAException.cpp and driver_api.h, QwenLM/Qwen3 issue 873; TensorRT-LLM
cpp/tensorrt_llm/runtime/tllmBuffers.h, NVIDIA/TensorRT-LLM issues 2358 and 3636.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from whisperfusion.errors import EngineError, gpu_is_full, lost_for_good
from whisperfusion.messages import Ticket
from whisperfusion.runtime.worker import Worker

# torch's own is one, too
OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})
LATE = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
)
NODE = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
CALL = "[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/onnxruntime/core/providers/cuda/"
STEP = "Encountered an error in forwardAsync function: [TensorRT-LLM][ERROR] CUDA runtime error in "

FULL = [  # no memory for this job
    # CTranslate2
    RuntimeError("CUDA failed with error out of memory"),
    RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
    # ONNX Runtime
    Fail(
        f"{CALL}cuda_call.cc:121 onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; "
        "hostname=a ; file=cuda_stream_handle.cc ; line=175 ; expr=cudaStreamCreateWithFlags("
        "&stream, cudaStreamNonBlocking);"
    ),
    RuntimeException(
        f"{NODE}Gemm node. Name:'fc1' Status Message: cuda_call.cc:114 onnxruntime::CudaCall "
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=a ; "
        "expr=cublasCreate(&cublas_handle_);"
    ),
    # torch
    OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 15.78 GiB "
        "of which 14.75 MiB is free."
    ),
    RuntimeError(f"CUDA error: out of memory{LATE}"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    # TensorRT-LLM, and TensorRT below it
    RuntimeError(
        f"{STEP}::cudaMallocAsync(ptr, n, mMemPool->getPool(), mCudaStream->get()): out of memory "
        "(/home/jenkins/tensorrt_llm/cpp/tensorrt_llm/runtime/tllmBuffers.h:125)"
    ),
    RuntimeError(
        "[resizingAllocator.cpp::allocate::78] Error Code 1: Cuda Runtime (out of memory)"
    ),
]
ONE_JOB = [  # neither full nor lost
    RuntimeException(
        f"{NODE}FusedMatMul node. Status Message: bfc_arena.cc:331 void* onnxruntime::BFCArena::"
        "AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size "
        "8388608000"
    ),
    RuntimeError("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED"),
    RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a "
        "non-contiguous input."
    ),
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    EngineError("CUDA error, says a caller"),
]
LOST = [
    # CTranslate2
    RuntimeError("CUDA failed with error an illegal memory access was encountered"),
    RuntimeError("CUDA failed with error unspecified launch failure"),
    RuntimeError("cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED"),
    # ONNX Runtime
    Fail(
        f"{CALL}cuda_call.cc:121 onnxruntime::CudaCall CUDA failure 700: an illegal memory access "
        "was encountered ; GPU=0 ; hostname=a ; expr=cudaStreamSynchronize(stream);"
    ),
    RuntimeException(
        f"{NODE}Conv node. Status Message: CUDNN failure 8: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0"
    ),
    # torch
    RuntimeError(f"CUDA error: an illegal memory access was encountered{LATE}"),
    RuntimeError(f"CUDA error: device-side assert triggered{LATE}"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"),
    RuntimeError("CUDA driver error: device not ready"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    # TensorRT-LLM, and TensorRT below it
    RuntimeError(f"{STEP}::cudaFreeHost(ptr): unspecified launch failure (/app/tllmBuffers.h:177)"),
    RuntimeError(
        "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal memory access was "
        "encountered)"
    ),
    RuntimeError("Error Code 1: Cuda Driver (unknown error)"),
]


def text(error: object) -> str:
    return str(error)[-50:]


@pytest.mark.parametrize("error", LOST, ids=text)
def test_a_lost_device_ends_the_process(error: Exception) -> None:
    assert lost_for_good(error) == "the GPU is lost to this process"
    assert not gpu_is_full(error)


@pytest.mark.parametrize("error", [*FULL, *ONE_JOB], ids=text)
def test_other_jobs_may_survive_it(error: Exception) -> None:
    assert lost_for_good(error) is None
    assert gpu_is_full(error) is (error in FULL)


@pytest.mark.parametrize("error", FULL, ids=text)
def test_a_full_device_ends_one_turn_with_words_for_its_caller(error: Exception) -> None:
    told: list[str] = []
    served = threading.Event()

    def work(ticket: Ticket, job: str) -> None:
        if job == "large":
            raise error
        served.set()

    def failed(ticket: Ticket, job: Any, why: EngineError) -> None:
        told.append(str(why))

    worker: Worker[str] = Worker("asr", work, failed=failed)
    worker.start()
    worker.put(Ticket("one", 1), "large")
    worker.put(Ticket("two", 1), "small")
    assert served.wait(30)
    worker.stop()
    (words,) = told
    assert words.startswith("the GPU has no memory left for this (") and "smaller model" in words
