"""llama.cpp in this process, by xllamacpp."""
