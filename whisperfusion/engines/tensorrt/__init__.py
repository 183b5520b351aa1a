"""TensorRT-LLM: language models and Whisper on NVIDIA cards."""
