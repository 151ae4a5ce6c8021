"""Turn the Google libraries' exceptions into `CloudError`, once, at the edge."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from saxflow.errors import CloudError, ConfigurationError

_REQUEST_LINE = re.compile(r"^[A-Z]+ https?://\S+: ")
"""What the storage client puts before the service's own words; our action says it already."""
RETRYABLE_CODES = frozenset({408, 429, 500, 502, 503, 504})


@contextmanager
def translated(service: str, action: str) -> Generator[None]:
    """Re-raise what Google's libraries raise inside the block as saxflow's own.

    Args:
        service: short name, as in `CloudError`.
        action: what is attempted, for example `read gs://b/o`; starts the message.

    Raises:
        CloudError: the service refused (with its code) or could not be reached (retryable).
        ConfigurationError: no credentials, or none that are still good.
    """
    import requests
    from google.api_core import exceptions as core
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except core.RetryError as error:
        raise CloudError(f"{action}: {error}", service=service, retryable=True) from error
    except core.GoogleAPICallError as error:
        code = int(error.code) if error.code is not None else None
        raise CloudError(
            f"{action}: {_REQUEST_LINE.sub('', error.message).rstrip('.')}",
            service=service,
            code=code,
            retryable=code is None or code in RETRYABLE_CODES,
        ) from error
    except (auth.DefaultCredentialsError, auth.RefreshError) as error:
        raise ConfigurationError(
            f"{action}: no Google credentials that are still good; run"
            " `gcloud auth application-default login`,"
            ' or for the local cloud `eval "$(saxflow local env)"`'
        ) from error
    except (
        auth.TransportError,
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        ConnectionError,
        DataCorruption,
    ) as error:
        raise CloudError(f"{action}: {error}", service=service, retryable=True) from error
