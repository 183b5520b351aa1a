"""Turn-taking, pure: values in, values out, the clock passed in. Nothing here does I/O."""
