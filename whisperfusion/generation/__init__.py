"""Parts of `llm_service.py`: the engine with its fall-back, one answer, and the count of waste."""
