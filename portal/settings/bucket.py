"""The settings of an S3-compatible bucket for the encrypted files."""

import re
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict

from portal.settings.declaration import MODEL, OptionalPath, variable

_ADDRESS: Final = re.compile(
    r"s3://(?P<name>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w./-]+?))?/*", re.ASCII
)


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("must look like s3://name or s3://name/prefix")
    return text


def _endpoint(text: str) -> str:
    if text and not text.startswith(("https://", "http://")):
        raise ValueError("must start with https:// or http://")
    return text


class Bucket(BaseModel):
    """Where the bucket is, and the access key of it."""

    model_config: ClassVar[ConfigDict] = MODEL

    address: Annotated[str, AfterValidator(_address)] = variable(
        "PLEURA_BUCKET",
        ...,
        "s3://name or s3://name/prefix: keep the encrypted files in an S3-compatible bucket and "
        "not in the data folder (needs `pip install .[s3]`).",
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = variable(
        "PLEURA_BUCKET_ENDPOINT",
        "",
        "Address of the bucket's server, for example https://s3.example.org.",
        default_text="Amazon's",
    )
    region: str = variable("PLEURA_BUCKET_REGION", "us-east-1", "Region of the bucket.")
    key_id: str = variable("PLEURA_BUCKET_KEY_ID", ..., "Access key of the bucket.", secret=True)
    secret: str = variable("PLEURA_BUCKET_SECRET", ..., "Secret of the access key.", secret=True)

    ca_file: OptionalPath = variable("PLEURA_CA_FILE", None, "")

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._part("name")

    @property
    def prefix(self) -> str:
        """Begins every key, and ends with / where there is one."""
        prefix = self._part("prefix")
        return f"{prefix}/" if prefix else ""

    def _part(self, group: str) -> str:
        found = _ADDRESS.fullmatch(self.address)
        return (found[group] or "") if found else ""
