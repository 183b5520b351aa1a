"""Licences that want to be accepted before a model is fetched or used.

Those of other models are named where they are listed and lie beside the files. A licence with
conditions for the operator's own business is shown, and accepted by an environment variable, the
one by which the model's own package asks.
"""

from __future__ import annotations

import os
from pathlib import Path

from whisperfusion.errors import ModelError
from whisperfusion.models.model import Model
from whisperfusion.settings.sources import read_env_file


def require(model: Model) -> None:
    """Raises ModelError where the operator has not accepted its licence, in the environment or in
    `.env`.
    """
    if not model.terms or os.environ.get(model.terms) == "1":
        return
    if read_env_file(Path(".env")).get(model.terms) == "1":
        return
    raise ModelError(
        f"{model.id} is under the {model.licence}: neither the model nor the speech that it makes "
        f"may be used commercially. Read it ({model.licence_url}); {model.terms}=1, in the "
        "environment or in .env, says that you agree to it."
    )
